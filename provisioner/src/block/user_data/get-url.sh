u='@URL@'
get() {
    curl -fsSL -m 60 -o $f "$u"
}
