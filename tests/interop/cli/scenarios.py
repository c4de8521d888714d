"""The scenarios that buildah and buildlib both run. A new one is a new entry; ``base`` is an image with busybox in it.

In the working folder lie ``file`` ("hello"), ``tool`` (mode 4755), ``dir`` (``a``, ``sub/b``, ``link`` → ``a``),
``pack.tar`` (``inside/x``, owner 7:8) and ``list.txt``.
"""

from __future__ import annotations

from tests.interop.cli.parity import Ours, Scenario

NO_DIGEST = Ours("buildah prints a digest of what it copied; we do not compute one", stdout="")
ONE_LINE = "buildah lists errors over several lines; ours are one line and a hint"

SCENARIOS = (
    Scenario(
        "containers are named after their image, with a number when that is taken",
        """
        from base
        from base
        from localhost/base:latest
        from scratch
        from scratch
        from --name mine base
        containers --format '{{.ContainerName}} {{.ImageName}}'
        containers -q
        containers
        rename mine other
        containers --noheading --filter name=other
        rm mine
        rm other base-working-container
        containers --format {{.ContainerName}}
        """,
    ),
    Scenario(
        "listing what is not there",
        """
        rmi --all --force
        images
        images -n
        images -q
        images --json
        containers
        containers -q
        containers --noheading
        containers --json
        """,
        differs={"containers --json": Ours("buildah prints null, on which jq '.[]' fails", stdout=r"\[\]\n")},
    ),
    Scenario(
        "listing images",
        """
        tag base site:1 other/name:2
        images
        images --noheading
        images --quiet
        images -q --no-trunc
        images --no-trunc
        images base
        images --filter dangling=true
        images --filter reference=nothing*
        images --filter foo=bar
        images nothing
        images base extra
        images base --json
        images --format '{{.Name}} {{.Tag}} {{.ID}} {{.Size}}' --filter dangling=false
        images --format {{.Nothing}}
        images -q --format {{.ID}}
        images --nothing
        images -Z
        """,
    ),
    Scenario(
        "a command's exit code and output come back",
        """
        from --name c base
        run c echo hello
        run c -- echo -n --env
        run c sh -c 'exit 42'
        run c false
        run c sh -c 'echo out; echo err >&2'
        run --env A=1 -eB=two c sh -c 'echo $A $B'
        run --user app c id -u
        run --user 1000:44 c sh -c 'id -u; id -g'
        run --user nobody-here c true
        run --workingdir /tmp c pwd
        run c
        run
        run nothing true
        run c missing
        run c sh -c 'kill -9 $$'
        """,
        differs={
            "run c missing": Ours("not found is 127, as everywhere else", code=127, stdout=""),
            "run c sh -c 'kill -9 $$'": Ours("128 + the signal, as everywhere else", code=137, stdout=""),
        },
    ),
    Scenario(
        "what a command changes is in the image, and nothing else is",
        """
        from --name c base
        run c sh -c 'echo new > /new; mkdir -p /d/e; ln -s /new /d/link; rm /bin/yes; chmod 750 /home; chown 5:6 /root'
        run c sh -c 'ln /new /d/hard; cp -a /etc /etc2; rm -r /etc2; mkfifo /pipe; touch /etc/passwd'
        commit -q c out
        """,
        images=("out",),
    ),
    Scenario(
        "copy puts files where buildah puts them",
        """
        from --name c base
        config --workingdir /work c
        copy -q c file
        copy -q c file /to/
        copy -q c file /to/renamed
        copy -q c dir /dir
        copy -q c dir/ /dir2/
        copy -q c file dir list.txt /many
        copy -q c dir/link /followed
        copy -q c *.txt /globbed/
        copy -q c tool /tool
        copy -q --chown app c dir /owned
        copy -q --chown 55 c file /owned2
        copy -q --chown 55:app c file /owned3
        copy -q --chmod 4711 c file /mode
        copy -q --from base c /bin/busybox /from/
        copy -q c missing /
        copy -q c file missing /
        copy -q --chown nobody-here c file /
        copy c
        copy nothing file /
        copy -q c file /etc/passwd/x
        commit -q c out
        """,
        images=("out",),
        files={"tool": "f 755 0:0 a8076d3d28d21e02"},  # setuid is not taken from the host
    ),
    Scenario(
        "copy says what it copied",
        "from --name c base\ncopy c file /x",
        differs={"copy c file /x": NO_DIGEST},
    ),
    Scenario(
        "the context is a border, and its ignore file is followed",
        """
        from --name c base
        copy -q --contextdir $PWD/dir c $PWD/dir /all
        copy -q --contextdir $PWD/dir c $PWD/dir/a /one/
        copy -q --ignorefile $PWD/ignored --contextdir $PWD/dir c $PWD/dir /some
        commit -q c out
        """,
        images=("out",),
    ),
    Scenario(
        "add unpacks archives and copies everything else",
        """
        from --name c base
        add -q c pack.tar /unpacked
        add -q c file /plain
        add -q c dir /dir
        copy -q c pack.tar /kept/
        add -q --chown 1:2 c pack.tar /chowned
        add -q c missing /
        commit -q c out
        """,
        images=("out",),
        files={  # --chown is for archives, too
            "chowned/inside": "d 751 1:2",
            "chowned/inside/x": "f 751 1:2 73cb3858a687a849",
        },
    ),
    Scenario(
        "config sets, removes and clears",
        """
        from --name c base
        config --env A=1 --env B=x --env 'PATH=/x:$PATH' --env 'C=${A}2' --label l=1 --label team= --annotation a=b c
        config --user app:app --workingdir /home/app --port 80/tcp --port 53/udp,54/udp --volume /v --volume /w c
        config --cmd 'nginx -g "daemon off;"' --author me --stop-signal TERM --created-by us --comment note c
        commit -q c one
        config --env A- --label l- --port 53/udp- --volume /v- --entrypoint '["/e", "a b"]' --cmd '["x","y z"]' c
        commit -q c two
        config --entrypoint 'line of shell' --env - --label - --port - --volume - --cmd '' --user '' --workingdir '' c
        commit -q c three
        config --env A c
        config --cmd '"' c
        config --healthcheck-interval soon c
        config --nothing c
        config
        config nothing
        config --cmd x c more
        config --entrypoint '' c
        commit -q c four
        """,
        images=("one", "two", "three", "four"),
    ),
    Scenario(
        "config in the docker format",
        """
        from --name c --format docker base
        config --healthcheck 'CMD /bin/true now' --healthcheck-interval 1m30s --healthcheck-timeout 500ms c
        config --healthcheck-start-period 5s --healthcheck-retries 2 --hostname h --domainname d c
        config --shell '/bin/sh -e -c' --onbuild 'RUN a' --onbuild 'RUN b' c
        commit -q --format docker c out
        """,
        images=("out",),
    ),
    Scenario(
        "commit answers with the id, or writes it to a file",
        """
        from --name c base
        run c touch /x
        commit -q c
        commit -q c named
        commit -q --iidfile $PWD/iid c named:2
        commit -q c UPPER
        commit -q --format odd c x
        commit -q nothing x
        commit
        commit -q c a b
        commit -q --squash --timestamp 0 c squashed
        commit -q --rm c gone
        containers -q
        images --format '{{.Name}}:{{.Tag}}' --filter dangling=false --filter reference=gone
        images --format '{{.CreatedAtRaw}}' squashed
        """,
        images=("named", "named:2", "squashed", "gone"),
    ),
    Scenario(
        "images leave and come back through every local transport",
        """
        from --name c base
        run c touch /x
        commit -q c out
        push -q out oci:$PWD/layout:tag
        push -q out oci-archive:$PWD/oci.tar:tag
        push -q out docker-archive:$PWD/docker.tar:localhost/again:1
        push -q out dir:$PWD/folder
        push -q --digestfile $PWD/digest out dir:$PWD/folder2
        rm c
        rmi -f out
        pull -q oci:$PWD/layout:tag
        pull -q oci-archive:$PWD/oci.tar:tag
        pull -q docker-archive:$PWD/docker.tar
        pull -q dir:$PWD/folder
        images -q again:1
        from --name d oci:$PWD/layout:tag
        run d ls /x
        pull -q oci:$PWD/missing
        pull
        pull a b
        push -q nothing oci:$PWD/x
        push
        push a b c
        commit -q d oci:$PWD/committed:tag
        images -q again:1
        """,
        images=("again:1",),
    ),
    Scenario(
        "images lose their names one by one",
        """
        tag base second third:v
        rmi second
        images --format '{{.Name}}:{{.Tag}}' base
        from --name c base
        rmi third:v
        rmi base
        rmi nothing
        rmi
        rmi --all base
        rm c
        rmi base
        images -q
        tag base again
        tag base
        """,
    ),
    Scenario(
        "several containers are removed, and one that is not there is an error",
        """
        from --name a base
        from --name b base
        rm nothing a
        containers --format {{.ContainerName}}
        rm
        rm --all b
        rm b --all
        rm --all
        containers -q
        """,
    ),
    Scenario(
        "containers are renamed unless the name is taken",
        """
        from --name a base
        from --name b base
        rename a b
        rename nothing x
        rename a
        rename a c
        containers --format {{.ContainerName}}
        from --name c base
        """,
    ),
    Scenario(
        "the parts of the document that inspect shows",
        """
        from --name c base
        config --env A=1 --label x=y --cmd 'a b' --user app --workingdir /w --port 80/tcp c
        inspect --format '{{.Type}} {{.FromImage}} {{.Container}} {{.MountPoint}}' c
        inspect --format '{{.OCIv1.Config.Env}} {{.OCIv1.Config.Cmd}} {{.OCIv1.Config.Labels.x}}' c
        inspect --format '{{.OCIv1.Config.User}} {{.OCIv1.Config.WorkingDir}} {{.OCIv1.Config.ExposedPorts}}' c
        inspect --format '{{.OCIv1.OS}} {{.OCIv1.Architecture}} {{.OCIv1.RootFS.DiffIDs}}' c
        inspect --format '{{.Docker.Config.Env}} {{.Docker.Config.Entrypoint}} {{.OCIv1.Config.Labels.none}}' c
        inspect --format '{{.FromImageID}} {{.ContainerID}}' c
        inspect --type image --format '{{.FromImage}} {{.FromImageID}} {{.FromImageDigest}}' base
        inspect --format '{{.FromImage}}' base
        inspect --type container base
        inspect --type odd base
        inspect nothing
        inspect
        inspect a b
        inspect --format '{{.Nothing}}' base
        """,
    ),
    Scenario(
        "mounts are visible, written through, and undone",
        """
        from --name c base
        from --name d base
        mount
        mount --json
        mount c
        umount c
        mount c d
        mount
        umount c
        umount c
        umount nothing
        umount
        umount --all c
        umount --all
        mount
        """,
        differs={
            "mount --json": Ours("buildah prints null, on which jq '.[]' fails", stdout=r"\[\]\n"),
        },
    ),
    Scenario(
        "global flags and verbs that do not exist",
        """
        --nothing images
        --root
        nothing
        --log-level loud images
        images --root
        """,
    ),
)
