"""The scenarios that buildah and buildlib both run. A new one is a new entry; ``base`` is an image with busybox in it.

In the working folder lie ``file`` ("hello"), ``tool`` (mode 4755), ``dir`` (``a``, ``sub/b``, ``link`` → ``a``),
``pack.tar`` (``inside/x``, owner 7:8) and ``list.txt``.

No container has a name like ``c``: buildah would find it, now and then, as the beginning of another one's id.
"""

from __future__ import annotations

from tests.interop.cli_parity.parity import Ours, Scenario

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
        from --name one base
        run one echo hello
        run one -- echo -n --env
        run one sh -c 'exit 42'
        run one false
        run one sh -c 'echo out; echo err >&2'
        run --env A=1 -eB=two one sh -c 'echo $A $B'
        run --user app one id -u
        run --user 1000:44 one sh -c 'id -u; id -g'
        run --user nobody-here one true
        run --workingdir /tmp one pwd
        run one
        run
        run nothing true
        run one missing
        run one sh -c 'kill -9 $$'
        """,
        differs={
            "run one missing": Ours("not found is 127, as everywhere else", code=127, stdout=""),
            "run one sh -c 'kill -9 $$'": Ours("128 + the signal, as everywhere else", code=137, stdout=""),
        },
    ),
    Scenario(
        "what a command changes is in the image, and nothing else is",
        """
        from --name one base
        run one sh -c 'echo new > /new; mkdir -p /d/e; ln -s /new /d/link; rm /bin/yes; chmod 750 /home; chown 5:6 root'
        run one sh -c 'ln /new /d/hard; cp -a /etc /etc2; rm -r /etc2; mkfifo /pipe; touch /etc/passwd'
        commit -q one out
        """,
        images=("out",),
    ),
    Scenario(
        "copy puts files where buildah puts them",
        """
        from --name one base
        config --workingdir /work one
        copy -q one file
        copy -q one file /to/
        copy -q one file /to/renamed
        copy -q one dir /dir
        copy -q one dir/ /dir2/
        copy -q one file dir list.txt /many
        copy -q one dir/link /followed
        copy -q one *.txt /globbed/
        copy -q one tool /tool
        copy -q --chown app one dir /owned
        copy -q --chown 55 one file /owned2
        copy -q --chown 55:app one file /owned3
        copy -q --chmod 4711 one file /mode
        copy -q --from base one /bin/busybox /from/
        copy -q one missing /
        copy -q one file missing /
        copy -q --chown nobody-here one file /
        copy one
        copy nothing file /
        copy -q one file /etc/passwd/x
        commit -q one out
        """,
        images=("out",),
    ),
    Scenario(
        "copy says what it copied",
        "from --name one base\ncopy one file /x",
        differs={"copy one file /x": NO_DIGEST},
    ),
    Scenario(
        "the context is a border, and its ignore file is followed",
        """
        from --name one base
        copy -q --contextdir $PWD/dir one $PWD/dir /all
        copy -q --contextdir $PWD/dir one $PWD/dir/a /one/
        copy -q --ignorefile $PWD/ignored --contextdir $PWD/dir one $PWD/dir /some
        commit -q one out
        """,
        images=("out",),
    ),
    Scenario(
        "add unpacks archives and copies everything else",
        """
        from --name one base
        add -q one pack.tar /unpacked
        add -q one file /plain
        add -q one dir /dir
        copy -q one pack.tar /kept/
        add -q --chown 1:2 one pack.tar /chowned
        add -q one missing /
        commit -q one out
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
        from --name one base
        config --env A=1 --env B=x --env 'PATH=/x:$PATH' --env 'C=${A}2' --label l=1 --label team= --annotation a=b one
        config --user app:app --workingdir /home/app --port 80/tcp --port 53/udp,54/udp --volume /v --volume /w one
        config --cmd 'nginx -g "daemon off;"' --author me --stop-signal TERM --created-by us --comment note one
        commit -q one one
        config --env A- --label l- --port 53/udp- --volume /v- --entrypoint '["/e", "a b"]' --cmd '["x","y z"]' one
        commit -q one two
        config --entrypoint 'line of shell' --env - --label - --port - --volume - --cmd '' --user '' --workingdir '' one
        commit -q one three
        config --env A one
        config --cmd '"' one
        config --healthcheck-interval soon one
        config --nothing one
        config
        config nothing
        config --cmd x one more
        config --entrypoint '' one
        commit -q one four
        """,
        images=("one", "two", "three", "four"),
    ),
    Scenario(
        "config in the docker format",
        """
        from --name one --format docker base
        config --healthcheck 'CMD /bin/true now' --healthcheck-interval 1m30s --healthcheck-timeout 500ms one
        config --healthcheck-start-period 5s --healthcheck-retries 2 --hostname h --domainname d one
        config --shell '/bin/sh -e -c' --onbuild 'RUN a' --onbuild 'RUN b' one
        commit -q --format docker one out
        """,
        images=("out",),
    ),
    Scenario(
        "commit answers with the id, or writes it to a file",
        """
        from --name one base
        run one touch /x
        commit -q one
        commit -q one named
        commit -q --iidfile $PWD/iid one named:2
        commit -q one UPPER
        commit -q --format odd one x
        commit -q nothing x
        commit
        commit -q one a b
        commit -q --squash --timestamp 0 one squashed
        commit -q --rm one gone
        containers -q
        images --format '{{.Name}}:{{.Tag}}' --filter dangling=false --filter reference=gone
        images --format '{{.CreatedAtRaw}}' squashed
        """,
        images=("named", "named:2", "squashed", "gone"),
    ),
    Scenario(
        "images leave and come back through every local transport",
        """
        from --name one base
        run one touch /x
        commit -q one out
        push -q out oci:$PWD/layout:tag
        push -q out oci-archive:$PWD/oci.tar:tag
        push -q out docker-archive:$PWD/docker.tar:localhost/again:1
        push -q out dir:$PWD/folder
        push -q --digestfile $PWD/digest out dir:$PWD/folder2
        rm one
        rmi -f out
        pull -q oci:$PWD/layout:tag
        pull -q oci-archive:$PWD/oci.tar:tag
        pull -q docker-archive:$PWD/docker.tar
        pull -q dir:$PWD/folder
        images -q again:1
        from --name two oci:$PWD/layout:tag
        run two ls /x
        pull -q oci:$PWD/missing
        pull
        pull a b
        push -q nothing oci:$PWD/x
        push
        push a b one
        commit -q two oci:$PWD/committed:tag
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
        from --name one base
        rmi third:v
        rmi base
        rmi nothing
        rmi
        rmi --all base
        rm one
        rmi base
        images -q
        tag base again
        tag base
        """,
    ),
    Scenario(
        "several containers are removed, and one that is not there is an error",
        """
        from --name two base
        from --name three base
        rm nothing two
        containers --format {{.ContainerName}}
        rm
        rm --all three
        rm three --all
        rm --all
        containers -q
        """,
    ),
    Scenario(
        "containers are renamed unless the name is taken",
        """
        from --name two base
        from --name three base
        rename two three
        rename nothing x
        rename two
        rename two one
        containers --format {{.ContainerName}}
        from --name one base
        """,
    ),
    Scenario(
        "the parts of the document that inspect shows",
        """
        from --name one base
        config --env A=1 --label x=y --cmd 'a b' --user app --workingdir /w --port 80/tcp one
        inspect --format '{{.Type}} {{.FromImage}} {{.Container}} {{.MountPoint}}' one
        inspect --format '{{.OCIv1.Config.Env}} {{.OCIv1.Config.Cmd}} {{.OCIv1.Config.Labels.x}}' one
        inspect --format '{{.OCIv1.Config.User}} {{.OCIv1.Config.WorkingDir}} {{.OCIv1.Config.ExposedPorts}}' one
        inspect --format '{{.OCIv1.OS}} {{.OCIv1.Architecture}} {{.OCIv1.RootFS.DiffIDs}}' one
        inspect --format '{{.Docker.Config.Env}} {{.Docker.Config.Entrypoint}} {{.OCIv1.Config.Labels.none}}' one
        inspect --format '{{.FromImageID}} {{.ContainerID}}' one
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
        from --name one base
        from --name two base
        mount
        mount --json
        mount one
        umount one
        mount one two
        mount
        umount one
        umount one
        umount nothing
        umount
        umount --all one
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
