-- At the end of /etc/powerdns/recursor.lua: the root, which is signed, knows of no minidisc.
addNTA("minidisc", "answered by md forward")
