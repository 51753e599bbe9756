"""`error_page` and what leads there."""

from theme import answering, case, each, get, head, post, ws

CASES = [
    case(
        "kinds",
        """
        error_page 404 /lost;
        error_page 403 =200 /ok;
        error_page 402 = /own;
        error_page 500 502 503 504 /50x?code=$status;
        error_page 405 http://other.test/away;
        error_page 406 =301 http://other.test/moved;
        error_page 410 @named;
        error_page 411 = @named;
        error_page 412 =202 @named;
        error_page 413 =413 /lost;
        error_page 415 @absent;
        error_page 416 /none;
        error_page 409 =404 /lost;
        error_page 401 /loop;
        location = /lost { internal; return 200 "page of $uri for $request_uri"; }
        location = /ok { return 200 "fine"; }
        location = /own { return 418 "teapot"; }
        location = /50x { return 200 "broken $args $status"; }
        location = /loop { return 401; }
        location @named { return 200 "named $uri $args"; }
        location ~ ^/s(\\d+)$ { }
        """
        + "".join(
            f"location = /r{code} {{ return {code}; }}"
            for code in (401, 402, 403, 404, 405, 406, 409, 410, 411, 412, 413, 415, 416, 500, 502, 503, 504)
        ),
        *each(
            get,
            *[f"/r{code}" for code in (401, 402, 403, 404, 405, 406, 409, 410, 411, 412, 413, 416, 500, 502, 503, 504)],
        ),
        get("/r410?a=b"),
        get("/r500?x"),
        get("/lost"),
        head("/r404"),
        head("/r410"),
        ws("/r404"),
        post("/r404", "abc"),
        post("/r410", "abc"),
        get("/r404", version="1.0"),
    ),
    case(
        "to a backend",
        """
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
        error_page 404 /fallback/page?from=$uri;
        error_page 403 = @app;
        error_page 500 =200 /fallback/ok;
        location = /r404 { return 404; }
        location = /r403 { return 403; }
        location = /r500 { return 500; }
        location /fallback/ { proxy_pass http://BACKEND; }
        location @app { proxy_pass http://BACKEND2; }
        """,
        *each(get, "/r404?own=1", "/r403?own=1", "/r500", "/fallback/x"),
        ws("/r403"),
        post("/r403", "abc"),
        get("/r403", method="DELETE"),
        post("/r404", "abc").differs(
            "error-pages-have-no-body", {"method": "GET", "sent body": "abc"}, {"method": "GET", "sent body": ""}
        ),
        head("/r404"),
        answering("/r404", status=404, body="the backend's own"),
        answering("/r403", status=500, body="the backend's own"),
    ),
    case(
        "intercepted",
        """
        proxy_intercept_errors on;
        error_page 404 /404;
        error_page 500 502 503 504 /50x;
        error_page 302 = /moved;
        error_page 401 =403 /401;
        location = /404 { return 200 "our page $upstream_status"; }
        location = /50x { return 200 "our 50x"; }
        location = /moved { return 200 "not followed"; }
        location = /401 { return 200 "who"; }
        location / { proxy_pass http://BACKEND; }
        location /off { proxy_intercept_errors off; proxy_pass http://BACKEND; }
        location /dead { proxy_pass http://DEAD; }
        """,
        *[
            answering(path, status=status, body="theirs")
            for path in ("/", "/off")
            for status in (200, 302, 400, 401, 404, 500, 502, 503)
        ],
        get("/dead"),
        ws("/dead"),
        answering("/", "WWW-Authenticate: Basic", "X-Own: 1", status=401, body="theirs"),
        answering("/", "Retry-After: 3", status=503, body="x"),
        answering("/", status=404, body="x", method="HEAD"),
    ),
    case(
        "inheritance",
        """
        error_page 404 /server;
        location = /server { return 200 server; }
        location = /location { return 200 location; }
        location /a { return 404; }
        location /b { error_page 403 /location; return 404; }
        location /c { error_page 404 /location; return 404; }
        location /d { error_page 404 /location; location /d/e { return 404; } }
        """,
        *each(get, "/a", "/b", "/c", "/d/e", "/nothing"),
    ),
    case(
        "dead backends",
        """
        location / { proxy_pass http://DEAD; }
        location /page { error_page 502 /sorry; proxy_pass http://DEAD; }
        location /named { error_page 502 504 = @spare; proxy_pass http://DEAD; }
        location = /sorry { return 503 "maintenance"; }
        location @spare { proxy_pass http://BACKEND; }
        """,
        *each(get, "/", "/page", "/named/x?y"),
        head("/"),
        post("/", "abc"),
        ws("/"),
        ws("/page"),
        post("/named", "abc"),
    ),
    case(
        "pages built in",
        "location /t { server_tokens off; return 404; } location /b { server_tokens off; proxy_pass http://DEAD; } location /n { return 404; }",
        *each(get, "/t", "/b", "/n"),
        get("/n", "User-Agent: Mozilla/5.0 (X11) Chrome/120.0").differs(
            "no-padding", {"body": "friendly error page"}, {"body": "404 Not Found", "status": 404}
        ),
    ),
    case(
        "method of a page",
        """
        if ($request_method = POST) { rewrite ^ /post last; }
        error_page 404 /page;
        location = /page { default_type text/plain; return 200 "$request_method $request"; }
        """,
        get("/x"),
        post("/x", "abc"),
        head("/x"),
        get("/x", method="DELETE"),
    ),
]
