{{- /* One Deployment: that of all replicas, or that of the canary. */ -}}
{{- define "leak-lab.deployment" -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
{{- $plugins := .plugins -}}
{{- $tag := .image.tag | default $root.Chart.AppVersion -}}
{{- $image := ternary (printf "%s@%s" .image.repository .image.digest) (printf "%s:%s" .image.repository $tag) (ne .image.digest "") -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "leak-lab.labels" $root | nindent 4 }}
    app.kubernetes.io/component: leaky-service
    track: {{ .track }}
    revision: {{ .revision | quote }}
spec:
  replicas: {{ .replicas }}
  # A new pod is ready before an old one ends, so that no request is lost.
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
  selector:
    matchLabels:
      {{- include "leak-lab.selector" $root | nindent 6 }}
      track: {{ .track }}
  template:
    metadata:
      labels:
        {{- include "leak-lab.selector" $root | nindent 8 }}
        app.kubernetes.io/part-of: leak-lab
        track: {{ .track }}
        revision: {{ .revision | quote }}
        {{- with $v.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        kubectl.kubernetes.io/default-container: leak-host
        {{- if $v.scrapeAnnotations.enabled }}
        prometheus.io/scrape: "true"
        prometheus.io/port: {{ $v.service.port | quote }}
        prometheus.io/path: /metrics
        {{- end }}
        {{- if $v.heapProfiles.enabled }}
        profiles.grafana.com/memory.scrape: "true"
        profiles.grafana.com/memory.port: {{ $v.service.adminPort | quote }}
        profiles.grafana.com/memory.path: /debug/pprof/heap
        {{- end }}
        {{- with $v.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 30
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        # For the cache.
        fsGroup: 65532
        seccompProfile:
          type: RuntimeDefault
      {{- with $v.image.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      {{- with $plugins.initContainers }}
      initContainers:
        {{- range . }}
        - name: plugins-{{ .name }}
          image: {{ .image }}
          command: [cp, -R, {{ printf "%s/." (.path | default "/plugins" | trimSuffix "/") | quote }}, /out/]
          resources:
            requests: {cpu: 10m, memory: 32Mi}
            limits: {memory: 32Mi}
          securityContext:
            {{- include "leak-lab.containerSecurity" . | nindent 12 }}
          volumeMounts:
            - name: plugins
              mountPath: /out
        {{- end }}
      {{- end }}
      containers:
        - name: leak-host
          image: {{ $image }}
          imagePullPolicy: {{ $v.image.pullPolicy }}
          args:
            - --admin-listen={{ $v.bindAddress }}:{{ $v.service.adminPort }}
            - --max-cache-size={{ $v.cache.sizeMi }}MiB
            {{- with .enable }}
            - --enable={{ join "," . }}
            {{- end }}
            {{- range .extraArgs }}
            - {{ . | quote }}
            {{- end }}
          env:
            - name: POD_NAME
              valueFrom: {fieldRef: {fieldPath: metadata.name}}
            - name: POD_NAMESPACE
              valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
            - name: NODE_NAME
              valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
            - name: LEAK_LISTEN
              value: {{ printf "%s:%d" $v.bindAddress (int $v.service.port) | quote }}
            - name: LEAK_PLUGINS
              value: /plugins
            - name: LEAK_CACHE
              value: /var/cache/leak-host
            - name: LEAK_HOST_NAME
              value: $(POD_NAME)
            - name: LEAK_LABELS
              value: "revision={{ .revision }},pod=$(POD_NAME),node=$(NODE_NAME)
                {{- range $name, $value := $v.hostLabels }},{{ $name }}={{ $value }}{{ end }}"
            - name: LEAK_ALLOWED_HOST
              value: {{ include "leak-lab.allowedHosts" $root | quote }}
            # The page /fleet of each console shows all of them.
            - name: LEAK_FLEET
              value: {{ include "leak-lab.fullname" $root }}-headless:{{ $v.service.adminPort }}
            {{- if $v.admin.token.enabled }}
            - name: LEAK_ADMIN_TOKEN
              {{- include "leak-lab.adminTokenVariable" $root | nindent 14 }}
            {{- end }}
            {{- if $v.otel.endpoint }}
            - name: OTEL_EXPORTER_OTLP_ENDPOINT
              value: {{ $v.otel.endpoint | quote }}
            {{- with $v.otel.protocol }}
            - name: OTEL_EXPORTER_OTLP_PROTOCOL
              value: {{ . | quote }}
            {{- end }}
            {{- if not (hasKey .env "OTEL_RESOURCE_ATTRIBUTES") }}
            - name: OTEL_RESOURCE_ATTRIBUTES
              value: "service.version={{ .revision }},k8s.pod.name=$(POD_NAME),k8s.node.name=$(NODE_NAME),k8s.namespace.name=$(POD_NAMESPACE)"
            {{- end }}
            {{- end }}
            {{- range $name, $value := .env }}
            - name: {{ $name }}
              value: {{ $value | toString | quote }}
            {{- end }}
          ports:
            - name: http
              containerPort: {{ $v.service.port }}
            - name: admin
              containerPort: {{ $v.service.adminPort }}
          # Compiling the plugins may take a while, but the host serves /health from the start.
          startupProbe:
            httpGet: {path: /health, port: http}
            periodSeconds: 2
            timeoutSeconds: 3
            failureThreshold: 30
          livenessProbe:
            httpGet: {path: /health, port: http}
            periodSeconds: 10
            timeoutSeconds: 3
            failureThreshold: 3
          readinessProbe:
            httpGet: {path: /health/ready, port: http}
            periodSeconds: 3
            timeoutSeconds: 3
            failureThreshold: 2
          lifecycle:
            # Until no node sends requests to this pod any more. The image has no shell.
            preStop:
              sleep: {seconds: 5}
          resources:
            requests:
              cpu: {{ $v.resources.cpuRequest | quote }}
              memory: {{ $v.resources.memory | quote }}
            limits:
              memory: {{ $v.resources.memory | quote }}
              {{- with $v.resources.cpuLimit }}
              cpu: {{ . | quote }}
              {{- end }}
          securityContext:
            {{- include "leak-lab.containerSecurity" $root | nindent 12 }}
          volumeMounts:
            - name: cache
              mountPath: /var/cache/leak-host
            {{- if $plugins.initContainers }}
            - name: plugins
              mountPath: /plugins
            {{- else if $plugins.image.reference }}
            - name: plugins
              mountPath: /plugins
              readOnly: true
            {{- end }}
            {{- range $source := $plugins.configMaps }}
            {{- range $source.files }}
            - name: config-{{ $source.name }}
              mountPath: /plugins/{{ . }}
              subPath: {{ . }}
              readOnly: true
            {{- end }}
            {{- end }}
      volumes:
        # On the node's disk: in memory it would count against the limit.
        - name: cache
          emptyDir:
            sizeLimit: {{ add (int $v.cache.sizeMi) 64 }}Mi
        {{- if $plugins.initContainers }}
        - name: plugins
          emptyDir:
            sizeLimit: 256Mi
        {{- else if $plugins.image.reference }}
        - name: plugins
          image:
            reference: {{ $plugins.image.reference }}
            pullPolicy: {{ $plugins.image.pullPolicy | default "IfNotPresent" }}
        {{- end }}
        {{- range $plugins.configMaps }}
        - name: config-{{ .name }}
          configMap:
            name: {{ .name }}
        {{- end }}
      {{- if $v.topologySpread.enabled }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: {{ $v.topologySpread.topologyKey }}
          whenUnsatisfiable: {{ $v.topologySpread.whenUnsatisfiable }}
          labelSelector:
            matchLabels:
              {{- include "leak-lab.selector" $root | nindent 14 }}
      {{- end }}
      {{- with $v.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $v.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $v.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $v.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
{{- end -}}

{{- define "leak-lab.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}
