"""Files that nginx does not take at all."""

from proofs import proof
from stand import must


def refused(rule, words):
    @proof(rule)
    async def prove(room):
        said = await room.refusal("bad")
        must(said is not None, "nginx takes the bad configuration")
        must(words in said, f"nginx says something else: {said}")
        must(await room.refusal("good") is None, "nginx refuses the good configuration")
        return f"nginx does not start: {said}"


refused("map-missing", 'unknown "connection_upgrade" variable')
refused("map-misplaced", '"map" directive is not allowed here')
refused("if-directive", '"proxy_set_header" directive is not allowed here')
refused("proxy-pass-uri", "cannot have URI part")
refused("ws-scheme", "invalid URL prefix")
