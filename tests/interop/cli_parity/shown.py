"""Scenarios of what is shown: templates, filters, names of containers and images, the document of ``inspect``."""

from __future__ import annotations

from tests.interop.cli_parity.parity import Ours, Scenario

MORE_FUNCTIONS = "buildah gives inspect only Go's own functions; ours has those of images there, too"

SCENARIOS = (
    Scenario(
        "templates of listings",
        """
        tag base two:2
        images --format '{{.Name}}:{{.Tag}}'
        images --format 'table {{.Name}} {{.Tag}}'
        images --noheading --format 'table {{.Name}}'
        images --format '{{printf "%-20s|%q" .Name .Tag}}'
        images --format '{{.Name | upper}} {{len .ID}} {{slice .ID 0 0}}'
        images --format '{{if eq .Tag "2"}}two{{else}}other{{end}}'
        images --format '{{if and .Name (not .ReadOnly)}}{{with .Tag}}{{.}}{{end}}{{end}}'
        images --format '{{split .Name "/"}} {{join (split .Name "/") "+"}} {{title .Tag}}'
        images --format '{{truncate .Name 3}}{{pad .Tag 1 2}}'
        images --format '{{.Name}}{{/* not shown */}}'
        images --format '{{.Name}'
        images --format '{{nothing .Name}}'
        images --format '{{range .}}x{{end}}'
        images --format '{{index .Name 999}}'
        images --format '{{.History}}'
        images --history
        images --digests
        images --digests --format '{{.Digest}}'
        images -a
        images -q --filter reference=two
        from --name one base
        config --port 80 one
        inspect --format {{.OCIv1.Config.ExposedPorts}} one
        containers --format '{{.ContainerName}}|{{.Builder}}|{{.ImageName}}|{{.ImageID}}'
        containers --format '{{json .ContainerName}}'
        containers --format '{{.Nothing}}'
        """,
        differs={
            "images --noheading --format 'table {{.Name}}'": Ours(
                "no heading is wanted, so none is printed", stdout=r"localhost/base\nlocalhost/two\n"
            ),
            "images --digests": Ours("buildah's heading is <no value>", stdout="REPOSITORY +TAG +DIGEST .*"),
            "inspect --format {{.OCIv1.Config.ExposedPorts}} one": Ours(
                "a port gets its protocol, as from docker", stdout=r"map\[80/tcp:\{\}\]"
            ),
        },
    ),
    Scenario(
        "templates of documents",
        """
        from --name one base
        config --env A=1 --env B=2 --label x=y --label a=b --cmd 'a b' one
        inspect --format '{{range .OCIv1.Config.Env}}{{.}};{{end}}' one
        inspect --format '{{range $k, $v := .OCIv1.Config.Labels}}{{$k}}={{$v}} {{end}}' one
        inspect --format '{{index .OCIv1.Config.Labels "x"}}|{{index .OCIv1.Config.Cmd 1}}' one
        inspect --format '{{len .OCIv1.Config.Env}} {{len .Container}}' one
        inspect --format '{{with .OCIv1.Config}}{{printf "%v" .Cmd}}{{end}}' one
        inspect --format '{{if .OCIv1.Config.User}}user{{else if .OCIv1.Config.Cmd}}cmd{{end}}' one
        inspect --format '{{$x := .Container}}{{printf "%s-%d" $x 3}}' one
        inspect --format '{{(index .OCIv1.History 0).CreatedBy}}' --type image base
        inspect --format '{{range $i, $h := .OCIv1.History}}{{$i}}: {{$h.CreatedBy}}{{end}}' --type image base
        inspect --format '{{define "T"}}[{{.}}]{{end}}{{template "T" .Container}}' one
        inspect --format '{{.Docker.ContainerConfig.Hostname}}|{{.Docker.Config.Cmd}}' one
        inspect --format '{{html "<a>"}} {{urlquery "a b"}} {{print 1 2 "x"}} {{eq 1 2 1}} {{or "" "d"}}' one
        inspect --format '{{.OCIv1.Nothing}}' one
        inspect --format '{{index .OCIv1.History 7}}' --type image base
        inspect --format '{{if}}' one
        inspect --format '{{json .Container}}' one
        inspect --format '{{.Isolation}}' one
        inspect --format '{{.NamespaceOptions}}' one
        inspect --format '{{.ProcessLabel}}|{{.DefaultMountsFilePath}}|{{.MountPoint}}' one
        """,
        differs={
            "inspect --format '{{json .Container}}' one": Ours(MORE_FUNCTIONS, stdout='"one"'),
            "inspect --format '{{.NamespaceOptions}}' one": Ours(
                "ours has what commands really get", stdout=r"\[\{cgroup .*\{uts false \}\]"
            ),
        },
    ),
    Scenario(
        "filters of images",
        """
        from --name one base
        config --label l=1 --created-by x one
        commit -q one first
        config --label l=2 --label m=n one
        commit -q one second
        commit -q one
        images --format '{{.Name}}' --filter label=l
        images --format '{{.Name}}' --filter label=l=1
        images --format '{{.Name}}' --filter label=m=n
        images --format '{{.Name}}' --filter before=second
        images --format '{{.Name}}' --filter since=base
        images --format '{{.Name}}' --filter since=first
        images --format '{{.Name}}' --filter dangling=true
        images --format '{{.Name}}' --filter dangling=false
        images --format '{{.Name}}' --filter reference=localhost/f*
        images --format '{{.Name}}' --filter reference=second:latest
        images --format '{{.Name}}' --filter readonly=true
        images --format '{{.Name}}' --filter reference=first --filter reference=second
        images --filter before=nothing
        images --filter since=
        images --filter dangling=maybe
        """,
    ),
    Scenario(
        "filters and forms of containers",
        """
        from --name one base
        from --name two base
        from --name other scratch
        containers --format {{.ContainerName}} --filter name=one
        containers --format {{.ContainerName}} --filter ancestor=localhost/base:latest
        containers --format {{.ContainerName}} --filter id=zzz
        containers -a -n
        containers --notruncate -n
        containers --json --filter name=two
        containers --filter odd=x
        containers -q --format x
        ls -q
        list -q
        ps -n
        containers extra
        """,
    ),
    Scenario(
        "names, ids and beginnings of ids",
        """
        from --name one base
        commit -q one some/thing:1
        inspect --type image --format {{.FromImage}} some/thing:1
        inspect --type image --format {{.FromImage}} localhost/some/thing:1
        inspect --type image --format {{.FromImage}} thing:1
        inspect --type image --format {{.FromImage}} some/thing
        inspect --type image --format {{.FromImage}} docker.io/some/thing:1
        tag some/thing:1 example.com/x/y:2
        inspect --type image --format {{.FromImage}} example.com/x/y:2
        from --name six example.com/x/y:2
        inspect --format '{{.FromImage}}' six
        from docker.io/library/none --pull-never
        from --pull-never none
        from --pull=never localhost/none
        from --pull=odd base
        from --name one base
        from
        from base base
        """,
        differs={
            "from --pull=odd base": Ours("a policy that there is not is refused; buildah takes it for true", code=125),
            "inspect --type image --format {{.FromImage}} example.com/x/y:2": Ours(
                "the name that was asked for is said, not the first of several", stdout="example.com/x/y:2"
            ),
            "inspect --type image --format {{.FromImage}} thing:1": Ours(
                "the end of a name is not a name: what a build starts from must be certain", code=125, stdout=""
            ),
        },
    ),
)
