"""`auth_request`: what the answer of a subrequest allows."""

from theme import case, get, head, post, ws

RITUAL = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"

CASES = [
    case(
        "auth_request",
        RITUAL + """
        location / { auth_request /auth; auth_request_set $user $upstream_http_x_user; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_set_header X-User $user; add_header X-Told $user; proxy_pass http://BACKEND; }
        location = /auth { internal; proxy_pass http://BACKEND2/check; proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header X-Original-URI $request_uri; proxy_set_header X-Method $request_method; proxy_set_header X-Answer $http_x_auth; }
        location /open { auth_request off; proxy_pass http://BACKEND; }
        location /login { auth_request /auth; error_page 401 = @login; proxy_pass http://BACKEND; }
        location @login { return 302 /signin?to=$request_uri; }
        location /dead { auth_request /deadauth; proxy_pass http://BACKEND; }
        location = /deadauth { internal; proxy_pass http://DEAD; }
        location /yes { auth_request /ret; proxy_pass http://BACKEND; }
        location = /ret { internal; return 204; }
        """,
        *[
            get(
                "/x?y",
                f'X-Auth: {{"status": {status}, "body": "", "headers": [["X-User", "me"], ["WWW-Authenticate", "Basic realm=x"], ["Set-Cookie", "a=b"]]}}',
            )
            for status in (200, 204, 299, 301, 400, 401, 403, 404, 500)
        ],
        ws("/x"),
        ws("/x", 'X-Auth: {"status": 401, "body": ""}'),
        ws("/x", 'X-Auth: {"status": 403, "body": ""}'),
        post("/x", "abc"),
        get("/open"),
        get("/auth"),
        get("/login/a?b", 'X-Auth: {"status": 401, "body": ""}'),
        get("/dead"),
        get("/yes"),
        get("/login/a"),
        head("/x"),
    )
]
