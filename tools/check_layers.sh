#!/bin/sh
# check_layers.sh: may each file include what it includes? The order of the layers (docs/architecture.md):
#
#     include/bailey ← base ← loop ← message ← config ← core ← state ← host ← admin ← cli ← main
#     include/bailey ← connectors/*        (and stores/*; and their own folder; never each other, never the gateway)
#
# A file includes its own layer and those to its left, and no header includes itself by a detour. A library is seen by the one
# place that is there for it. Prints what breaks a rule; 0 if nothing does.
set -eu
cd "$(dirname "$0")/.."

find gateway connectors stores include/bailey -name '*.[ch]' 2>/dev/null | sort | xargs awk '
    BEGIN {
        split("base loop message config core state host admin cli", order, " ")
        for (i in order)
            rank[order[i]] = i + 0
        only["yaml.h"] = "gateway/config/yaml.c"
        only["libwebsockets.h"] = "gateway/(loop|admin)/"
        only["sodium/"] = "gateway/core/id.c"
        only["rocksdb/"] = "stores/rocksdb/"
        only["librdkafka/"] = "connectors/kafka/"
        only["amqp.h"] = "connectors/amqp/"
        only["amqp_framing.h"] = "connectors/amqp/"
        only["rabbitmq-c/"] = "connectors/amqp/"
        only["openssl/"] = "gateway/(base|loop|message)/|connectors/"
        banned["strcpy"] = banned["strcat"] = banned["sprintf"] = banned["vsprintf"] = banned["strtok"] = 1
        banned["gmtime"] = banned["localtime"] = banned["gets"] = 1
    }
    function complain(why) {
        printf "%s:%d: %s\n", FILENAME, FNR, why
        bad = 1
    }
    function exists(path,    line) { # is it a file of the tree?
        if (!(path in known)) {
            known[path] = (getline line < path) >= 0
            close(path)
        }
        return known[path]
    }
    FNR == 1 {
        depth = split(FILENAME, part, "/")
        layer = part[1] == "gateway" && depth > 2 ? part[2] : ""
        mine = layer == "" ? 99 : rank[layer]
        if (layer != "" && !(layer in rank))
            complain("gateway/" layer " is no layer: give it a place in tools/check_layers.sh")
    }
    # The comment first, so that a word in it is no call.
    { code = $0; gsub(/"([^"\\]|\\.)*"/, "\"\"", code); sub(/\/\*.*/, "", code); sub(/^ \*.*/, "", code) }
    match(code, /(^|[^a-zA-Z0-9_])(strcpy|strcat|sprintf|vsprintf|strtok|gmtime|localtime|gets) *\(/) {
        name = substr(code, RSTART, RLENGTH)
        gsub(/[^a-z]/, "", name)
        complain(name "() is not used here: it has no bound, or a hidden state")
    }
    /^#[ \t]*include/ {
        target = $0
        sub(/^#[ \t]*include[ \t]*["<]/, "", target)
        sub(/[">].*/, "", target)
        quoted = $0 ~ /include[ \t]*"/
        for (prefix in only)
            if (!quoted && index(target, prefix) == 1 && FILENAME !~ "^(" only[prefix] ")")
                complain("<" target "> belongs to " only[prefix])
        if (target ~ /^bailey\//) {
            if (!exists("include/" target))
                complain("no such file: " target)
        } else if (part[1] == "include") {
            if (quoted)
                complain("include/bailey includes only itself and libc, not " target)
        } else if (part[1] == "connectors" || part[1] == "stores") {
            if (quoted && target ~ /\//)
                complain("a module includes bailey/ and its own folder only, not " target)
            else if (quoted && !exists(part[1] "/" part[2] "/" target))
                complain("no such file in " part[1] "/" part[2] ": " target)
        } else if (quoted) {
            split(target, to, "/")
            if (!(to[1] in rank))
                complain("include it by its layer: " target)
            else if (rank[to[1]] > mine || (rank[to[1]] == mine && to[1] != layer))
                complain(layer " may not include " to[1])
        }
    }
    END { exit bad }
'

# Cycles: a header whose includes lead back to itself. tsort finds them, as it would in any order of things.
cycles=$(
    {
        grep -o '^# *include *"[^"]*\.h"' gateway/*/*.h | sed 's/:# *include *"/ gateway\//; s/"$//'
        grep -o '^# *include *<bailey/[^>]*>' include/bailey/*.h gateway/*/*.h | sed 's/:# *include *</ include\//; s/>$//'
        for header in connectors/*/*.h stores/*/*.h; do
            sed -n "s|^# *include *\"\(.*\.h\)\"|$header $(dirname "$header")/\1|p" "$header"
        done
    } | tsort 2>&1 >/dev/null | grep -v 'input contains a loop' || true
)
if [ -n "$cycles" ]; then
    echo "headers include each other in a circle:"
    echo "$cycles"
    exit 1
fi
