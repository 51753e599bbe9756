"""`if`, `set`, `rewrite`, `break`, and `return` among them."""

from theme import answering, case, each, get, head, post, ws

RITUAL = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"

CASES = [
    case(
        "set",
        'set $a one; set $b "$a-two"; location / { set $c "${b}x"; default_type text/plain; return 200 "$a|$b|$c|$d"; } location /d { set $d late; set $a changed; default_type text/plain; return 200 "$a|$b|$c|$d"; }',
        *each(get, "/", "/d", "/x?y"),
    ),
    case(
        "conditions",
        """
        location / {
            default_type text/plain;
            set $r "";
            if ($arg_a) { set $r "${r}a"; }
            if ($arg_b = "x y") { set $r "${r}b"; }
            if ($arg_b = x) { set $r "${r}B"; }
            if ($arg_c != x) { set $r "${r}c"; }
            if ($arg_d ~ ^(\\d+)-(\\w+)$) { set $r "${r}d[$1,$2]"; }
            if ($arg_e ~* ABC) { set $r "${r}e"; }
            if ($arg_f !~ abc) { set $r "${r}f"; }
            if ($arg_g !~* ABC) { set $r "${r}g"; }
            if ($request_method = POST) { set $r "${r}P"; }
            if ($http_x_test) { set $r "${r}h"; }
            if ($host ~ "^(?<sub>\\w+)\\.") { set $r "${r}s[$sub]"; }
            return 200 "$r";
        }
        """,
        *each(
            get,
            "/",
            "/?a=0",
            "/?a=1",
            "/?a=",
            "/?a=00",
            "/?b=x",
            "/?c=x",
            "/?d=12-ab",
            "/?d=12",
            "/?e=xabcx",
            "/?f=abc&g=ABC",
            "/?f=ABC&g=abc",
        ),
        post("/", ""),
        get("/", "X-Test: 0"),
        get("/", "X-Test: 1"),
        get("/", host="www.a.test"),
    ),
    case(
        "if with answers",
        """
        if ($host = www.example.test) { return 301 http://example.test$request_uri; }
        if ($scheme = https) { return 400; }
        location / { if ($request_method = OPTIONS) { add_header Access-Control-Allow-Origin *; add_header Access-Control-Max-Age 100; return 204; } proxy_pass http://BACKEND; }
        location /methods { if ($request_method !~ ^(GET|HEAD)$) { return 405; } proxy_pass http://BACKEND; }
        location /agent { if ($http_user_agent ~* (curl|wget)) { return 403; } return 200 ok; }
        location /code { if ($arg_x) { return 200 "text $arg_x"; } return 404; }
        location /two { if ($arg_x) { return 201; } if ($arg_y) { return 202; } return 203; }
        location /named { error_page 418 = @ws; if ($http_upgrade = websocket) { return 418; } return 200 plain; }
        location @ws { proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_pass http://BACKEND2; }
        """,
        get("/a?b", host="www.example.test"),
        get("/", method="OPTIONS"),
        get("/"),
        post("/methods", "a"),
        get("/methods"),
        head("/methods"),
        get("/agent", "User-Agent: Wget/1"),
        get("/agent"),
        *each(get, "/code?x=1", "/code", "/two?y=1", "/two", "/two?x=1&y=1", "/named"),
        ws("/named"),
        ws("/named?x"),
    ),
    case(
        "if with a backend",
        RITUAL + """
        location / {
            if ($http_upgrade = websocket) { proxy_pass http://BACKEND2; }
            proxy_pass http://BACKEND;
        }
        location /low { if ($http_upgrade ~* websocket) { proxy_pass http://BACKEND2; } if ($arg_x) { add_header X-In-If yes; } proxy_pass http://BACKEND; }
        location /header { add_header X-Out yes; if ($arg_x) { add_header X-In yes; } proxy_pass http://BACKEND; }
        location /set { set $to BACKEND; if ($arg_x) { set $to BACKEND3; } proxy_pass http://$to; }
        location /type { default_type text/plain; if ($arg_x) { return 200 x; } return 200 y; }
        """,
        ws("/"),
        get("/"),
        ws("/low"),
        *each(get, "/low", "/low?x=1", "/header", "/header?x=1", "/set", "/set?x=1", "/type", "/type?x=1"),
        ws("/set?x=1"),
    ),
    case(
        "rewrite",
        RITUAL + """
        rewrite ^/old/(.*)$ /new/$1;
        rewrite ^/gone$ /moved permanent;
        location / { default_type text/plain; return 200 "$uri?$args|$request_uri"; }
        location /last { rewrite ^/last/(.*)$ /target/$1 last; return 200 "not rewritten"; }
        location /break { rewrite ^/break/(.*)$ /inner/$1 break; proxy_pass http://BACKEND; }
        location /breakuri { rewrite ^/breakuri/(.*)$ /inner/$1 break; proxy_pass http://BACKEND/uri/; }
        location /args { rewrite ^ /t?x=1 last; }
        location /noargs { rewrite ^ /t? last; }
        location /moreargs { rewrite ^/moreargs/(\\d+)$ /t?id=$1&y=2 last; }
        location /redirect { rewrite ^/redirect/(.*)$ /to/$1 redirect; }
        location /perm { rewrite ^/perm/(.*)$ http://other.test/$1 permanent; }
        location /perm2 { rewrite ^/perm2/(.*)$ /x/$1? permanent; }
        location /https { rewrite ^ https://$host$uri; }
        location /scheme { rewrite ^ $scheme://other.test$request_uri? redirect; }
        location /chain { rewrite ^/chain/a /chain/b; rewrite ^/chain/b /target/c last; }
        location /loop { rewrite ^/loop /loop/x last; }
        location /case { rewrite (?i)^/CASE/X /target/i last; return 200 no; }
        location /named { rewrite ^/named/(?<n>.*)$ /target/$n-named last; }
        location /escape { rewrite ^/escape/(.*)$ /target/$1 redirect; }
        location /escape2 { rewrite ^/escape2/(.*)$ /inner/$1 break; proxy_pass http://BACKEND; }
        location /nomatch { rewrite ^/xyz$ /target last; return 200 "fell through"; }
        location /ws { rewrite ^/ws/(.*)$ /socket/$1 break; proxy_pass http://BACKEND; }
        location /target { default_type text/plain; return 200 "target $uri?$args"; }
        """,
        *each(
            get,
            "/old/a%20b?c",
            "/gone",
            "/gone?x",
            "/last/a",
            "/last/a?b=c",
            "/last",
            "/break/a%20b?c",
            "/break/a?",
            "/breakuri/x?y",
            "/args?own=1",
            "/noargs?own=1",
            "/moreargs/5?own=1",
            "/redirect/a%20b?c",
            "/perm/a?b",
            "/perm2/a?b",
            "/https?x",
            "/https/a%20b",
            "/scheme/a?b",
            "/chain/a",
            "/loop",
            "/case/x",
            "/CASE/x",
            "/named/q",
            "/escape/a%3Fb%25c%20d",
            "/escape/%C3%A9",
            "/escape2/a%3Fb%20c?d",
            "/escape2/a%2Fb",
            "/nomatch",
            "/ws/x?y",
            "/last/a%2Bb+c",
        ),
        ws("/ws/chat?room=1"),
        ws("/break/x"),
        ws("/last/x"),
        ws("/redirect/x"),
        post("/break/x", "abc"),
        post("/last/x", "abc"),
        head("/redirect/x"),
    ),
    case(
        "break and order",
        """
        location /a { set $x 1; break; set $x 2; default_type text/plain; add_header X $x; proxy_pass http://BACKEND; }
        location /b { if ($arg_x) { break; return 200 never; } return 200 "after"; }
        location /c { rewrite ^ /d break; return 200 "after break"; }
        location /e { return 200 first; rewrite ^ /d last; }
        location /d { return 200 d; }
        location /f { if ($arg_x) { rewrite ^ /d last; } return 200 f; }
        location /g { if ($uri ~ ^/g/(.*)$) { set $got $1; } return 200 "$got"; }
        """,
        *each(get, "/a", "/b", "/b?x=1", "/c", "/e", "/f", "/f?x=1", "/g/abc"),
    ),
    case(
        "files of if",
        'location / { if (-f FOLDER/maintenance) { return 503; } if (!-f FOLDER/absent) { add_header X-Absent yes; } if (-d FOLDER) { set $d dir; } if (-e $document_root$uri) { return 200 exists; } if (!-e $request_filename) { set $d "$d none"; } root FOLDER/www; default_type text/plain; return 200 "$d"; }',
        *each(get, "/", "/file", "/none"),
        files={"www/file": "x"},
    ),
    case(
        "at the level of a server",
        'if ($arg_x) { return 403; } set $v server; rewrite ^/s$ /t; location / { default_type text/plain; return 200 "$v $uri"; } location /t { return 200 t; }',
        *each(get, "/?x=1", "/", "/s", "/t"),
    ),
]
