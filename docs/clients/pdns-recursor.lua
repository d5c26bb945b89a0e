-- At the end of /etc/powerdns/recursor.lua. The signed root zone has no minidisc, so validation would fail.
addNTA("minidisc", "answered by md forward")
