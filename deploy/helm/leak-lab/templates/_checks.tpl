{{- /* What a JSON Schema cannot say: rules between values. Each ends the installation with a sentence. */ -}}
{{- define "leak-lab.checks" -}}
{{- $v := .Values -}}
{{- if $v.canary.enabled -}}
  {{- if lt (int $v.replicas) 2 -}}
    {{- fail (printf "canary.enabled needs at least 2 replicas, and replicas is %d: one for the canary and one for the others" (int $v.replicas)) -}}
  {{- end -}}
  {{- if not $v.canary.revision -}}
    {{- fail "canary.revision is empty: give the canary a name of its own, such as --set canary.revision=0.2.0" -}}
  {{- end -}}
  {{- if eq $v.canary.revision (include "leak-lab.revision" .) -}}
    {{- fail (printf "canary.revision and revision are both %q: alerts and panels could not tell them apart" $v.canary.revision) -}}
  {{- end -}}
{{- end -}}
{{- include "leak-lab.checkPlugins" (dict "where" "plugins" "plugins" $v.plugins "root" .) -}}
{{- include "leak-lab.checkPlugins" (dict "where" "canary.plugins" "plugins" $v.canary.plugins "root" .) -}}
{{- if eq (int $v.service.port) (int $v.service.adminPort) -}}
  {{- fail (printf "service.port and service.adminPort are both %d: the admin API needs a port of its own" (int $v.service.port)) -}}
{{- end -}}
{{- if and $v.admin.token.existingSecret (not $v.admin.token.enabled) -}}
  {{- fail (printf "admin.token.existingSecret is %q, but admin.token.enabled is false: set it to true, or remove the Secret's name" $v.admin.token.existingSecret) -}}
{{- end -}}
{{- if and $v.prometheusRule.enabled (not $v.prometheusRule.lab) (not $v.prometheusRule.production) -}}
  {{- fail "prometheusRule.lab and prometheusRule.production are both false: enable one, or set prometheusRule.enabled to false" -}}
{{- end -}}
{{- range $name := list "LEAK_LABELS" "LEAK_HOST_NAME" "LEAK_ALLOWED_HOST" "LEAK_ADMIN_TOKEN" "LEAK_FLEET" "LEAK_LISTEN" "LEAK_PLUGINS" "LEAK_CACHE" -}}
  {{- if or (hasKey $v.env $name) (hasKey $v.canary.env $name) -}}
    {{- fail (printf "env: the chart sets %s itself; use hostLabels, admin, bindAddress, plugins or cache" $name) -}}
  {{- end -}}
{{- end -}}
{{- range $name := list "revision" "pod" "node" -}}
  {{- if hasKey $v.hostLabels $name -}}
    {{- fail (printf "hostLabels: the chart sets %s itself; choose another name" $name) -}}
  {{- end -}}
{{- end -}}
{{- if $v.loadTests.enabled -}}
  {{- $runs := dict -}}
  {{- range $run := $v.loadTests.runs -}}
    {{- if or (eq $run.script "lab.js") (not ($.Files.Get (printf "files/k6/%s" $run.script))) -}}
      {{- $scripts := list -}}
      {{- range $path, $_ := $.Files.Glob "files/k6/*.js" -}}
        {{- if ne (base $path) "lab.js" -}}{{- $scripts = append $scripts (base $path) -}}{{- end -}}
      {{- end -}}
      {{- fail (printf "loadTests.runs: there is no script %q; the chart has %s" $run.script (join ", " $scripts)) -}}
    {{- end -}}
    {{- if hasKey $runs $run.name -}}
      {{- fail (printf "loadTests.runs: two runs are called %q" $run.name) -}}
    {{- end -}}
    {{- $_ := set $runs $run.name true -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- define "leak-lab.checkPlugins" -}}
{{- $where := .where -}}
{{- $files := dict -}}
{{- range $source := .plugins.configMaps -}}
  {{- range $file := $source.files -}}
    {{- if hasKey $files $file -}}
      {{- fail (printf "%s.configMaps: the file %s comes from %s and from %s; a plugin is called as its file, so rename one" $where $file (get $files $file) $source.name) -}}
    {{- end -}}
    {{- $_ := set $files $file $source.name -}}
  {{- end -}}
{{- end -}}
{{- $names := dict -}}
{{- range $source := .plugins.initContainers -}}
  {{- if hasKey $names $source.name -}}
    {{- fail (printf "%s.initContainers: two sources are called %q; a container's name must be unique" $where $source.name) -}}
  {{- end -}}
  {{- $_ := set $names $source.name true -}}
{{- end -}}
{{- if .plugins.image.reference -}}
  {{- if or .plugins.configMaps .plugins.initContainers -}}
    {{- fail (printf "%s.image is read-only and takes no more files: use it without %s.configMaps and %s.initContainers" $where $where $where) -}}
  {{- end -}}
  {{- if semverCompare "<1.33.0-0" .root.Capabilities.KubeVersion.Version -}}
    {{- fail (printf "%s.image needs Kubernetes 1.33, and this cluster has %s: use %s.initContainers with an image that has a `cp`" $where .root.Capabilities.KubeVersion.Version $where) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
