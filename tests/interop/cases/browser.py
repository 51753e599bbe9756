"""The demonstration as a person sees it: Chromium, the page, and a picture of it in target/interop/demo.png."""

from house import ROOM, case


@case("Chromium shows the demonstration: open, messages both ways, round trips of the proxy's pings")
async def demonstration(house):
    longwire = await house.longwire_with("--listen", "127.0.0.1:0")
    picture = ROOM / "demo.png"
    page = await house.node("browser.js", "demo", f"http://127.0.0.1:{longwire.port}/", picture)
    status = await page.wait(120)
    assert status == 0, f"{page.text}\n{longwire.text}"
    told = next(t for t in page.jsons() if "state" in t)
    problems = [t for t in page.jsons() if "error" in t or "console" in t]
    assert not problems, problems
    assert told["state"] == "open" and told["sent"] >= 3 and told["received"] >= 3, told
    assert all(told[leg].endswith(("µs", "ms")) for leg in ("client_rtt", "backend_rtt", "echo")), told
    assert picture.stat().st_size > 10_000
    return f"client {told['client_rtt']}, backend {told['backend_rtt']}, {told['received']} messages; {picture}"
