"""Whole scripts as people have them, run with ``alias buildah=…``: the demo of a talk, line by line, and tutorials.

``$REGISTRY`` is a registry of the test, ``base`` an image with busybox in it. A script prints what is to be equal, and
leaves images called ``out…``.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class Script:
    """What it shows, its text, and the images that are compared."""

    title: str
    text: str
    images: tuple[str, ...] = ()


SCRIPTS = (
    Script(
        "the demo of a talk: from, run, config, copy, mount, commit, push, inspect",
        r"""
        set -eu
        # a container to work in
        ctr=$(buildah from base)
        echo "$ctr"
        buildah containers --format '{{.ContainerName}} {{.ImageName}}'
        # commands in it
        buildah run "$ctr" -- sh -c 'mkdir -p /srv/www && echo "<h1>hello</h1>" > /srv/www/index.html'
        buildah run "$ctr" cat /srv/www/index.html
        # files of the host
        printf '#!/bin/sh\nexec httpd -f -p 8080 -h /srv/www\n' > start
        chmod 755 start
        buildah copy -q "$ctr" start /usr/local/bin/start
        # what the image says about itself
        buildah config --entrypoint '["/usr/local/bin/start"]' --port 8080/tcp --label version=1.0 "$ctr"
        buildah config --author "A. Speaker" --env HOME=/srv --workingdir /srv/www "$ctr"
        buildah inspect --format '{{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.ExposedPorts}}' "$ctr"
        # its files as a folder
        root=$(buildah mount "$ctr")
        cat "$root/srv/www/index.html"
        echo "<p>more</p>" >> "$root/srv/www/index.html"
        buildah umount "$ctr" > /dev/null
        # an image, a second name, and off it goes
        buildah commit -q "$ctr" out > id
        test "$(wc -c < id)" = 65
        buildah tag out "$REGISTRY/team/site:1.0"
        buildah images --format '{{.Name}}:{{.Tag}}' out
        buildah push -q --tls-verify=false "$REGISTRY/team/site:1.0"
        buildah rm "$ctr" > /dev/null
        buildah rmi out "$REGISTRY/team/site:1.0" > /dev/null
        # and back
        buildah pull -q --tls-verify=false "$REGISTRY/team/site:1.0" > /dev/null
        again=$(buildah from --pull=never "$REGISTRY/team/site:1.0")
        buildah run "$again" cat /srv/www/index.html
        buildah inspect --type image --format '{{.OCIv1.Author}} {{index .OCIv1.Config.Labels "version"}}' \
            "$REGISTRY/team/site:1.0"
        buildah tag "$REGISTRY/team/site:1.0" out
        buildah rm --all > /dev/null
        buildah containers -q
        """,
        ("out",),
    ),
    Script(
        "a tutorial: an image from nothing, filled through its mount",
        r"""
        set -eu
        new=$(buildah from scratch)
        echo "$new"
        buildah run "$new" ls / 2> /dev/null && exit 1
        at=$(buildah mount "$new")
        base=$(buildah from base)
        from=$(buildah mount "$base")
        cp -a "$from/bin" "$from/etc" "$at/"
        mkdir "$at/app"
        printf 'for i in 1 2 3; do echo "line $i"; done\n' > "$at/app/run"
        buildah umount "$base" > /dev/null
        buildah rm "$base" > /dev/null
        buildah run "$new" sh /app/run
        buildah config --created-by "someone" --cmd "sh /app/run" --label name=tutorial "$new"
        buildah umount "$new" > /dev/null
        buildah commit -q "$new" out > /dev/null
        buildah images --format '{{.Name}}' --filter label=name=tutorial
        buildah rm "$new" > /dev/null
        next=$(buildah from out)
        buildah run "$next" cat /app/run
        buildah rm "$next" > /dev/null
        """,
        ("out",),
    ),
    Script(
        "a tutorial: a script for all that a Dockerfile would say",
        r"""
        set -eu
        build() {
            local c
            c=$(buildah from --name "work-$1" base)
            buildah config --env "VERSION=$1" --workingdir /work "$c"
            buildah add -q "$c" pack.tar /work
            buildah copy -q --chown app:app "$c" dir /work/dir
            buildah run --env WHO=me "$c" -- sh -c 'echo "$VERSION by $WHO" > version; chown app version'
            if buildah run "$c" sh -c 'exit 3'; then exit 1; else echo "code $?"; fi
            buildah config --user app --cmd '["cat","version"]' --stop-signal TERM "$c"
            buildah commit -q --rm "$c" "out-$1" > /dev/null
        }
        build 1
        build 2
        buildah containers -q
        for version in 1 2; do
            c=$(buildah from "out-$version")
            buildah run "$c" cat version
            buildah run "$c" id -u
        done
        buildah images --noheading --format '{{.Name}} {{.Tag}}' | sort
        buildah rm -a > /dev/null
        buildah rmi nothing 2> /dev/null || echo "failed with $?"
        """,
        ("out-1", "out-2"),
    ),
    Script(
        "a tutorial: for several machines under one name",
        r"""
        set -eu
        buildah manifest create site > /dev/null
        for arch in amd64 arm64; do
            c=$(buildah from base)
            buildah config --arch "$arch" --label "arch=$arch" "$c"
            buildah commit -q --rm "$c" "out-$arch" > /dev/null
            buildah manifest add --arch "$arch" site "localhost/out-$arch" > /dev/null
        done
        buildah manifest inspect site | grep -c architecture
        buildah manifest push -q --all --tls-verify=false site "docker://$REGISTRY/team/multi:1" > /dev/null
        buildah manifest rm site > /dev/null
        buildah pull -q --tls-verify=false --arch arm64 "docker://$REGISTRY/team/multi:1" > /dev/null
        buildah inspect --type image --format '{{.OCIv1.Architecture}} {{index .OCIv1.Config.Labels "arch"}}' \
            "$REGISTRY/team/multi:1"
        """,
        ("out-amd64", "out-arm64"),
    ),
    Script(
        "a tutorial: archives instead of registries",
        r"""
        set -eu
        c=$(buildah from base)
        echo data | buildah run "$c" sh -c 'cat > /data'
        buildah commit -q "$c" docker-archive:site.tar:localhost/site:1
        buildah commit -q "$c" oci:layout:latest
        buildah rm "$c" > /dev/null
        tar -tf site.tar | grep -c manifest.json
        ls layout
        buildah pull -q docker-archive:site.tar > /dev/null
        c=$(buildah from localhost/site:1)
        buildah run "$c" cat /data
        d=$(buildah from oci:layout:latest)
        buildah run "$d" cat /data
        buildah tag localhost/site:1 out
        buildah rm "$c" "$d" | wc -l
        """,
        ("out",),
    ),
)
