"""Configurations drawn at random: trees of locations, ways to pass on, rules of rewriting, and requests that may fit them."""

from theme import case, get, head, post, ws

RITUAL = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_set_header Host $host;"
NAMES = ["/", "/a", "/a/", "/a/b", "/a/b/", "/ab", "/b", "/b/c/d", "/c/", "/a%20b", "/d.txt", "/e/"]
EXPRESSIONS = ["\\.txt$", "^/a/(.*)$", "/b/", "^/(\\w)/(\\w)", "c$", "^/[ab]", "\\.(gif|txt)$", "^/e/?$", "A"]
PLAIN = ["", "", "^~ "]
SIMPLE = ["/", "/x", "/x/", "/a/b/", "/x?k=1"]


def generate(random):
    cases = []
    for number in range(24):
        text = RITUAL + "".join(locations(random, 2, random.randrange(2, 8), random.choice(["", "", "/a"])))
        if number % 3 == 0:
            text += "".join(rule(random) for _ in range(random.randrange(1, 4)))
        if number % 4 == 0:
            # Pages of a backend are for GET alone: `error-pages-have-no-body`.
            text += random.choice(["error_page 404 = @named;", "error_page 403 404 =200 /here;", "merge_slashes off;"])
            text += 'location @named { proxy_pass http://BACKEND3; } location = /here { return 200 "here $uri"; }'
        cases.append(case(f"number {number}", text, *[request(random) for _ in range(30)]))
    return cases


def locations(random, depth, count, below):
    seen = set()
    for _ in range(count):
        if random.random() < 0.3:
            head = random.choice(["~ ", "~* "]) + '"' + random.choice(EXPRESSIONS) + '"'
        else:
            path = below + random.choice(NAMES)
            head = random.mostly(random.choice(PLAIN), ["= "]) + path.replace("//", "/").replace("%20", "_")
        key = head.removeprefix("^~ ")
        if key in seen:
            continue
        seen.add(key)
        inner = ""
        # nginx lets nothing but longer paths stand inside a path, and nothing inside an exact one.
        if depth and head[0] != "=" and random.random() < 0.25:
            inner = "".join(
                each
                for each in locations(random, 0, 2, head.split(" ")[-1].rstrip("/") if head[0] != "~" else "")
                if head[0] != "~" or each.startswith("location ~")
            )
        yield f"location {head} {{ {content(random, head)} {inner} }}\n"


def content(random, head):
    backend = random.choice(["BACKEND", "BACKEND2", "BACKEND3"])
    draw = random.random()
    if draw < 0.2:
        return f'return 200 "{head.replace(chr(34), "").replace("$", "").replace(chr(92), "")}|$uri|$args|$1";'
    if draw < 0.3:
        return random.choice(["return 404;", "return 301 /moved$uri;", "return 403;", ""])
    if draw < 0.4:
        return rule(random) + f" proxy_pass http://{backend};"
    if draw < 0.5:
        return f"proxy_pass http://{backend}$uri$is_args$args;"
    if draw < 0.8 and head[0] != "~":
        return f"proxy_pass http://{backend}{random.choice(SIMPLE)};"
    return (
        random.choice(["", RITUAL + "proxy_set_header X-Own $uri;", "add_header X-Here yes;"])
        + f" proxy_pass http://{backend};"
    )


def rule(random):
    return random.choice(
        [
            "rewrite ^/a/(.*)$ /b/$1 last;",
            "rewrite ^/b/(.*)$ /c/$1 break;",
            "rewrite ^/(\\w)$ /$1/x;",
            "rewrite ^/c/ /moved redirect;",
            "rewrite ^/e(.*)$ /a$1?more=1;",
            "rewrite txt$ /gone? permanent;",
            "if ($arg_x) { return 202; }",
            "if ($uri ~ ^/a(.*)$) { set $rest $1; }",
            "if ($request_method = POST) { rewrite ^ /post last; }",
            "set $v $uri;",
        ]
    )


def request(random):
    path = "".join(
        random.choice(
            ["/a", "/b", "/c", "/d.txt", "/e", "/", "/ab", "/A", "//", "/x", "/..", "/a%20b", "/.", "/%62", ".txt"]
        )
        for _ in range(random.randrange(1, 5))
    )
    path = (path if path.startswith("/") else "/" + path) + random.mostly("", ["?x=1", "?a=b%20c&x", "?", "#f"], 0.3)
    return random.choice([get, get, get, ws, head, lambda target: post(target, "abc")])(path)
