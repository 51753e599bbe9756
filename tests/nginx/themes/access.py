"""Who may: allow, deny, auth_basic, satisfy, limit_except."""

import base64

from theme import answering, case, each, get, head, post, ws

RITUAL = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
# user:pass in several of the forms that crypt(3) and nginx know; {PLAIN} is nginx's own.
HTPASSWD = {
    "htpasswd": "# people\nuser:$apr1$abcdefgh$E7ZT10yJdsdCkWOAykQfG1\nplain:{PLAIN}pass\nsha:{SHA}nU4eI71bcnBGqeO0t9tXvY1u5oQ=\n"
}
# "secret" in every form.
FORMS = {
    "apr": "$apr1$4DWtzKbW$2WILQN1xpAyrrrjSY0YpS1",
    "md5": "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1",
    "sha256": "$5$saltsaltsalt$TihBZCRsJxAxHgKub.mCOdu9X7QLi980jJxe7T2aZg7",
    "sha512": "$6$saltsaltsalt16ch$7aI/jUf.pR/ZuGC.PuAxz5YjpXvWmCmG1Txb1twc4orLj2jPod1n3QjhekK2Tvv9FIzn7AW6FLHNzCNauMGlb.",
    "rounds": "$5$rounds=10000$salty$nud1Puhdswbrj67Gnnia0rhzx6..D65hkzVrZpr0PR4",
    "bcrypt": "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
    "bcrypta": "$2a$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
    "sha": "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "ssha": "{SSHA}dj2lH1ocucmj5OQsjP6mQrVx6FhOYUNs",
    "plain": "{PLAIN}secret",
    "bare": "secret",
    "empty": "",
    "comment": "{PLAIN}secret:more",
    "short": "$apr1$",
    "fewrounds": "$5$rounds=10$salty$abc",
}
GOOD, BAD = "Authorization: Basic cGxhaW46cGFzcw==", "Authorization: Basic cGxhaW46d3Jvbmc="

CASES = [
    case(
        "allow and deny",
        """
        location /a { deny all; return 200 never; }
        location /b { deny all; proxy_pass http://BACKEND; }
        location /c { allow 127.0.0.1; deny all; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_pass http://BACKEND; }
        location /d { deny 127.0.0.0/8; allow all; proxy_pass http://BACKEND; }
        location /e { allow 10.0.0.0/8; allow 127.0.0.0/30; deny all; proxy_pass http://BACKEND; }
        location /f { allow 192.0.2.1; proxy_pass http://BACKEND; }
        location /g { deny 127.0.0.2; proxy_pass http://BACKEND; location /g/in { proxy_pass http://BACKEND; } location /g/own { allow all; proxy_pass http://BACKEND; } }
        location /h { error_page 403 = @no; deny all; proxy_pass http://BACKEND; }
        location @no { return 200 "denied"; }
        location /p/ { deny all; proxy_pass http://BACKEND; }
        """,
        *each(get, "/a", "/b", "/c", "/d", "/e", "/f", "/g", "/g/in", "/h", "/p", "/p/"),
        *[get(path).but(address="127.0.0.2") for path in ("/c", "/e", "/g", "/g/in", "/g/own")],
        get("/e").but(address="127.0.0.5"),
        ws("/b"),
        ws("/c"),
        post("/b", "x"),
        head("/b"),
    ),
    case(
        "passwords",
        """
        location / { auth_basic "closed"; auth_basic_user_file FOLDER/htpasswd; proxy_set_header X-User $remote_user; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_pass http://BACKEND; location /off { auth_basic off; proxy_pass http://BACKEND; } }
        location /ret { auth_basic "closed"; auth_basic_user_file FOLDER/htpasswd; return 200 "return comes first"; }
        location /none { auth_basic "closed"; auth_basic_user_file FOLDER/absent; proxy_pass http://BACKEND; }
        location /page { auth_basic "closed"; auth_basic_user_file FOLDER/htpasswd; error_page 401 /sorry; proxy_pass http://BACKEND; }
        location /sorry { return 200 "who are you"; }
        location /var { auth_basic "realm of $host"; auth_basic_user_file FOLDER/htpasswd; proxy_pass http://BACKEND; }
        """,
        *each(get, "/", "/off", "/ret", "/none", "/page", "/var"),
        get("/", GOOD),
        get("/", BAD),
        get("/", "Authorization: Basic c2hhOnBhc3M="),
        get("/", "Authorization: Basic bm9ib2R5OnBhc3M="),
        get("/", "Authorization: Bearer x"),
        get("/", "Authorization: Basic !"),
        get("/page", BAD),
        get("/page", GOOD),
        ws("/"),
        ws("/", GOOD),
        ws("/", BAD),
        get("/none", GOOD),
        head("/"),
        post("/", "x"),
        get("/", "Authorization: basic cGxhaW46cGFzcw=="),
        get("/", "Authorization: Basic cGxhaW4="),
        files=HTPASSWD,
    ),
    case(
        "forms of passwords",
        "location / { auth_basic closed; auth_basic_user_file FOLDER/htpasswd; proxy_pass http://BACKEND; }",
        *[
            get("/", "Authorization: Basic " + base64.b64encode(f"{user}:{word}".encode()).decode())
            for user in FORMS
            for word in ("secret", "secre", "", "secret2")
        ],
        files={"htpasswd": "".join(f"{user}:{form}\n" for user, form in FORMS.items())},
    ),
    case(
        "satisfy",
        """
        auth_basic "closed"; auth_basic_user_file FOLDER/htpasswd;
        location /any { satisfy any; allow 127.0.0.2; deny all; proxy_pass http://BACKEND; }
        location /all { satisfy all; allow 127.0.0.2; deny all; proxy_pass http://BACKEND; }
        location /all2 { allow 127.0.0.1; deny all; proxy_pass http://BACKEND; }
        """,
        *[
            get(path, *lines).but(address=address)
            for path in ("/any", "/all", "/all2")
            for lines in ((), (GOOD,), (BAD,))
            for address in ("127.0.0.1", "127.0.0.2")
        ],
        files=HTPASSWD,
    ),
    case(
        "limit_except",
        "location / { limit_except GET POST { deny all; } proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_pass http://BACKEND; } location /ip { limit_except GET { allow 127.0.0.2; deny all; } proxy_pass http://BACKEND; }",
        *[
            get(path, method=method)
            for path in ("/", "/ip")
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
        ],
        ws("/"),
    ),
]
