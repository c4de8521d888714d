#!/bin/sh
# A build in CI: what earlier runs did comes from the cache in the registry, on whatever machine they ran.
#     REGISTRY=registry.example.com/team ./build.sh CONTEXT NAME
# FLAGS may hold more flags, such as --tls-verify=false for a registry without TLS.
set -eu
context=$1 name=$2
cache=type=registry,ref=$REGISTRY/$name-cache

# shellcheck disable=SC2086  # FLAGS are several words
bud ${FLAGS:-} \
    --cache-from "$cache" \
    --cache-to "$cache,mode=max" \
    --metadata-file metadata.json \
    --label "org.opencontainers.image.revision=${GIT_COMMIT:-unknown}" \
    --tag "$REGISTRY/$name:${GIT_COMMIT:-latest}" \
    --push \
    "$context"
