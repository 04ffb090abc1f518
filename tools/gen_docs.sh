#!/bin/sh
# gen_docs.sh BAILEY FOLDER: write what is generated into FOLDER (conf/bailey.schema.json, docs/options.md, docs/metrics.md).
# `make docs` gives the repository itself; `make check` gives an empty folder and compares.
set -eu

bailey=$1
folder=$2
here=$(dirname "$0")

mkdir -p "$folder/conf" "$folder/docs"
unset BAILEY_CONNECTOR_PATH # the connectors beside the program, and no others
"$bailey" connectors --schema > "$folder/conf/bailey.schema.json.new"
"$bailey" connectors --markdown > "$folder/docs/options.md.new"
mv "$folder/conf/bailey.schema.json.new" "$folder/conf/bailey.schema.json"
mv "$folder/docs/options.md.new" "$folder/docs/options.md"
