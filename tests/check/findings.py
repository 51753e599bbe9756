"""What `longwire check` finds in a file, and the file with a finding's fix."""

import json
import pathlib
import re
import subprocess

import programs
from configuration import edited


def findings(path):
    """What `longwire check` finds in a file; None with the reason when it cannot read it."""
    options = re.match(r"# options: (.*)", path.read_text(errors="replace"))
    command = [programs.LONGWIRE, "check", "--json", *(options[1].split() if options else ()), str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    try:
        return json.loads(ran.stdout)
    except ValueError:
        return {"findings": [], "problems": [{"message": (ran.stderr or ran.stdout)[-500:]}], "unread": True}


def fixed(text, path, edits):
    """The text with a finding's fix; None when it gives none, or one in another file."""
    if not edits or any(pathlib.Path(each["file"]).resolve() != path.resolve() for each in edits):
        return None
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    at = [(starts[e["line"] - 1] + e["column"] - 1, starts[e["end_line"] - 1] + e["end_column"] - 1, e["text"]) for e in edits]
    return edited(text, at)
