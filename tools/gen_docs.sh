#!/bin/sh
# gen_docs.sh BAILEY FOLDER: write what is generated into FOLDER: conf/bailey.schema.json, docs/options.md, docs/metrics.md.
# `make docs` gives the repository itself; `make check` gives an empty folder and compares.
set -eu

bailey=$1
folder=$2
here=$(dirname "$0")

unset BAILEY_CONNECTOR_PATH # the connectors beside the program, and no others

# A file is replaced only when all of it could be made.
make_file() {
    file=$folder/$1
    shift
    mkdir -p "$(dirname "$file")"
    "$@" > "$file.new"
    mv "$file.new" "$file"
}

make_file conf/bailey.schema.json "$bailey" connectors --schema
make_file docs/options.md "$bailey" connectors --markdown
make_file docs/metrics.md "$here/gen_metrics.sh"
