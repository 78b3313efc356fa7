{{- define "leak-lab.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* The labels that select the lab's pods; the value of component is the `job` of their series. */ -}}
{{- define "leak-lab.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: leaky-service
{{- end -}}

{{- define "leak-lab.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: leak-lab
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "leak-lab.revision" -}}
{{- .Values.revision | default .Chart.AppVersion -}}
{{- end -}}

{{- define "leak-lab.secretName" -}}
{{- .Values.admin.token.existingSecret | default (printf "%s-admin" (include "leak-lab.fullname" .)) -}}
{{- end -}}

{{- /* Replicas of the canary: its share, rounded, at least one, and one less than all. */ -}}
{{- define "leak-lab.canaryReplicas" -}}
{{- if .Values.canary.enabled -}}
{{- $n := int .Values.replicas -}}
{{- $share := div (add (mul $n (int .Values.canary.percent)) 50) 100 -}}
{{- min (max 1 $share) (sub $n 1) -}}
{{- else -}}0{{- end -}}
{{- end -}}

{{- define "leak-lab.adminTokenVariable" -}}
valueFrom:
  secretKeyRef:
    name: {{ include "leak-lab.secretName" . }}
    key: {{ .Values.admin.token.key }}
{{- end -}}

{{- /* Every name under which clients in the cluster reach the admin API. The variable POD_NAMESPACE
       keeps the kustomize base free of a namespace. */ -}}
{{- define "leak-lab.allowedHosts" -}}
{{- $names := list -}}
{{- range $name := list (include "leak-lab.fullname" .) (printf "%s-headless" (include "leak-lab.fullname" .)) -}}
{{- range $suffix := list "" ".$(POD_NAMESPACE)" ".$(POD_NAMESPACE).svc" ".$(POD_NAMESPACE).svc.cluster.local" -}}
{{- $names = append $names (printf "%s%s" $name $suffix) -}}
{{- end -}}
{{- end -}}
{{- join "," (concat $names .Values.admin.allowedHosts) -}}
{{- end -}}
