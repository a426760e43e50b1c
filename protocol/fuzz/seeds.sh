#!/usr/bin/env bash
# Fill corpus/ from the conversations, each side of each file, whole and line by line, and from the
# binary frames. The decode targets read a byte in front of the input that chooses limits and pieces;
# `@` is the defaults and single bytes.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p corpus/decode_client corpus/decode_server corpus/decode_binary corpus/roundtrip
seed() { # side letter, target
    for file in ../testdata/*.txt; do
        name=$(basename "$file" .txt)
        number=0
        { grep "^$1: " "$file" || true; } | cut -c4- | while IFS= read -r line; do
            number=$((number + 1))
            printf '@%b' "$line" > "corpus/$2/$name-$number"
            [ -e "corpus/$2/$name.tmp" ] || printf '@' > "corpus/$2/$name.tmp"
            printf '%b' "$line" >> "corpus/$2/$name.tmp"
            printf '%b' "$line" > "corpus/roundtrip/$2-$name-$number"
        done
        if [ -e "corpus/$2/$name.tmp" ]; then mv "corpus/$2/$name.tmp" "corpus/$2/$name"; fi
    done
}
seed C decode_client
seed S decode_server
seed_binary() { # side letter, octal of the byte in front: even for clients, odd for brokers
    for file in ../vectors/*.txt; do
        number=0
        { grep "^$1: " "$file" || true; } | cut -c4- | while IFS= read -r line; do
            number=$((number + 1))
            # shellcheck disable=SC2001
            printf '%b' "\\$2$(sed 's/ *\([0-9a-f][0-9a-f]\)/\\x\1/g' <<<"$line")" \
                > "corpus/decode_binary/$(basename "$file" .txt)-$1-$number"
        done
    done
}
seed_binary C 0100
seed_binary S 0101
