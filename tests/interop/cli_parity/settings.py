"""Scenarios of how containers are made, changed and turned into images: settings that are kept, history, archives."""

from __future__ import annotations

from tests.interop.cli_parity.parity import Ours, Scenario

HISTORY = "'{{range .OCIv1.History}}{{.CreatedBy}}|{{.EmptyLayer}};{{end}}'"

SCENARIOS = (
    Scenario(
        "what from says holds for the commands to come",
        """
        from --name one --ulimit nofile=77:88 --add-host db:10.0.0.5 -v $PWD/dir:/shared:ro --cidfile $PWD/cid base
        run one sh -c 'ulimit -n; ulimit -Hn'
        run one grep db /etc/hosts
        run one cat /shared/a
        run one touch /shared/x
        run -v $PWD/dir:/more one cat /more/a
        run --mount type=bind,source=$PWD/dir,target=/m one cat /m/a
        run --mount type=bind,source=$PWD/dir,target=/m one touch /m/x
        run --mount type=tmpfs,target=/t one touch /t/x
        run --mount type=odd,target=/t one true
        run --contextdir $PWD --mount type=bind,source=dir,target=/m one cat /m/sub/b
        run --workingdir /nowhere one pwd
        from --name two --cap-drop all base
        run two grep CapEff /proc/self/status
        from --name three --cap-add SYS_ADMIN --cap-drop CHOWN base
        run three grep CapBnd /proc/self/status
        from --device /dev/null --name four base
        run four test -c /dev/null
        run --env A=1 --env B one sh -c 'echo $A$B'
        """,
        differs={
            "run three grep CapBnd /proc/self/status": Ours(
                "the eleven of containers.conf as buildah is installed, not the fourteen it has without that file",
                stdout=r"CapBnd:\t00000000802405fa\n",
            ),
        },
    ),
    Scenario(
        "history is written where it is wanted",
        """
        from --name one base
        config --add-history --env A=1 --cmd x --label l=m --user app one
        run --add-history one touch /x
        copy -q --add-history one file /y
        add -q --add-history one file /z
        config --created-by me --history-comment why one
        commit -q one out
        inspect --type image --format '{{len .OCIv1.RootFS.DiffIDs}}' out
        commit -q --omit-history one bare
        inspect --type image --format '{{len .OCIv1.History}}' bare
        """,
        images=("out", "bare"),
    ),
    Scenario(
        "commit with what changes the image",
        """
        from --name one base
        config --env GONE=1 --env STAYS=1 --annotation a=b one
        commit -q --unsetenv GONE one out
        commit -q --identity-label=false one plain
        commit -q --iidfile $PWD/iid --format docker one docker
        commit -q --manifest list one listed
        manifest exists list
        manifest inspect nothing
        commit -q one oci-archive:$PWD/a.tar:localhost/again:1
        commit -q one docker-archive:$PWD/d.tar:localhost/docker:1
        commit -q one dir:$PWD/d
        pull -q oci-archive:$PWD/a.tar
        pull -q docker-archive:$PWD/d.tar
        commit -q --timestamp 0 one t0
        images --format '{{.CreatedAtRaw}}' t0
        commit -q one docker://localhost:1/x
        commit -q --timestamp x one y
        commit one two three
        """,
        images=("out", "plain", "docker", "listed", "t0"),
        files={},
    ),
    Scenario(
        "containers on archives, layouts and folders",
        """
        push -q base oci:$PWD/layout:tag
        push -q base oci-archive:$PWD/o.tar:tag
        push -q base docker-archive:$PWD/d.tar:localhost/saved:1
        push -q base dir:$PWD/folder
        from --name a oci:$PWD/layout:tag
        run a cat /etc/passwd
        from --name b oci-archive:$PWD/o.tar:tag
        from --name x docker-archive:$PWD/d.tar
        from --name y dir:$PWD/folder
        run y pwd
        from docker-archive:$PWD/none.tar
        from oci:$PWD/layout:none
        from dir:$PWD/file
        from odd:thing:x
        """,
    ),
    Scenario(
        "copying from containers and images, and archives of every kind",
        """
        from --name one base
        from --name two base
        copy -q two file /deep/er/name
        copy -q --from two one /deep /from-container
        copy -q --from base one /etc/passwd /from-image/
        copy -q --from base one /none /x
        copy -q --from nothing:at one /x /x
        add -q one pack.tar.gz /gz
        add -q one pack.tar.bz2 /bz2
        add -q one pack.tar.xz /xz
        copy -q one pack.tar.gz /kept
        copy -q --contextdir $PWD one dir/a /in-context
        copy -q --contextdir $PWD/dir one /../file /out
        copy -q --chown 7 one tool /owned
        copy -q --chmod 0600 one dir /modes
        copy -q --chmod odd one dir /modes
        copy -q one dir /etc/passwd
        copy -q one file list.txt /not-a-dir-yet
        commit -q one out
        """,
        images=("out",),
        files={
            "in-context": "f 644 0:0 87428fc522803d31",  # see below
            "modes": "d 600 0:0",  # the folder that is made for the contents of another has its mode, too
        },
        differs={
            "copy -q --contextdir $PWD one dir/a /in-context": Ours(
                "a relative source lies in the context; buildah can't compute its path"
            ),
        },
    ),
    Scenario(
        "where flags may stand",
        """
        from --name one base
        config one --env A=1
        copy one file /x --chown 1
        images base -q
        commit one x --rm
        from base --name x
        rm one --all
        tag base x --odd
        push base dir:$PWD/x -q
        inspect one --format x
        run one --env A=1 true
        run --env A=1 one -- sh -c 'echo $A'
        mount one --json
        rmi base -f
        containers -qn
        containers -q=true
        containers --quiet=false --noheading
        images --no-trunc=odd
        config --env
        config -e
        from --format
        """,
        differs={
            "run one --env A=1 true": Ours("not found is 127, as everywhere else", code=127, stdout=""),
        },
    ),
    Scenario(
        "manifest lists",
        """
        manifest create list
        manifest create list
        manifest create --amend list base
        manifest exists list
        manifest exists nothing
        manifest add list base
        manifest add --arch arm64 --variant v8 list base
        manifest add nothing base
        manifest add list nothing:none
        manifest annotate --annotation a=b list base
        manifest inspect nothing
        manifest push -q --all list dir:$PWD/pushed
        manifest push -q --all list oci:$PWD/layout:list
        manifest remove list sha256:0000000000000000000000000000000000000000000000000000000000000000
        manifest rm list
        manifest rm list
        manifest create a b c
        """,
    ),
    Scenario(
        "removing by name, by force, and what is in use",
        """
        from --name one base
        config --label x=y one
        commit -q one first
        from --name two first
        rmi first
        rmi -f first
        containers --format {{.ContainerName}}
        commit -q one
        images -q --filter dangling=true
        rmi --prune
        images -q --filter dangling=true
        tag base b:1 b:2
        rmi b:1 b:2
        rmi -f nothing
        rmi --all
        rm --all
        rmi --all
        images -q
        rm -a
        rmi -a
        """,
    ),
    Scenario(
        "logins that are not there",
        """
        login --get-login localhost:1
        logout localhost:1
        logout
        login
        login --password-stdin localhost:1
        login -u a -p b localhost:1
        """,
    ),
)
