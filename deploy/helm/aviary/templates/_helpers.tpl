{{- define "aviary.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "aviary.image" -}}
{{- with .Values.image }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{/* Of the image, as a part of a name: workers of each stand beside those of another. */}}
{{- define "aviary.version" -}}
{{- $said := .Values.image.tag | default .Chart.AppVersion }}
{{- if .Values.image.digest }}{{ $said = trimPrefix "sha256:" .Values.image.digest | trunc 12 }}{{ end }}
{{- $plain := regexReplaceAll "[^a-z0-9]+" (lower $said) "-" | trimAll "-" }}
{{- if or (ne $plain (replace "." "-" $said)) (gt (len $plain) 24) }}
{{- $plain = printf "%s-%s" ($plain | trunc 15 | trimSuffix "-") (sha256sum $said | trunc 8) }}
{{- end }}
{{- $plain }}
{{- end }}

{{- define "aviary.workerName" -}}
{{ include "aviary.name" . }}-worker-{{ include "aviary.version" . }}
{{- end }}

{{/* What selects the pods of a component; takes (list $ component). */}}
{{- define "aviary.selector" -}}
{{- $top := index . 0 -}}
app.kubernetes.io/name: aviary
app.kubernetes.io/instance: {{ $top.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "aviary.labels" -}}
{{- $top := index . 0 -}}
{{ include "aviary.selector" . }}
app.kubernetes.io/version: {{ $top.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $top.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $top.Chart.Name $top.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Settings of a component as a map of variables; what `settings` says wins. */}}
{{- define "aviary.settings" -}}
{{- $top := index . 0 }}{{ $component := index . 1 }}{{ $values := $top.Values }}
{{- $found := dict
  "AVIARY_CATALOG" "/etc/aviary/catalog.yaml"
  "AVIARY_LOG_FORMAT" "json"
  "AVIARY_TEMPORAL_ADDRESS" $values.temporal.address
  "AVIARY_TEMPORAL_NAMESPACE" $values.temporal.namespace
  "AVIARY_TEMPORAL_TLS" (toString $values.temporal.tls)
  "AVIARY_KAFKA_BOOTSTRAP" $values.kafka.bootstrap
  "AVIARY_KAFKA_SECURITY" $values.kafka.security
  "AVIARY_PROMETHEUS_URL" $values.prometheus.url }}
{{- with $values.alertmanager.url }}{{ $_ := set $found "AVIARY_ALERTMANAGER_URL" . }}{{ end }}
{{- if eq $component "webhook" }}
{{- $_ := set $found "AVIARY_WEBHOOK_HOST" "0.0.0.0" }}{{ $_ := set $found "AVIARY_WEBHOOK_PORT" "8088" }}
{{- else }}
{{- $_ := set $found "AVIARY_METRICS_HOST" "0.0.0.0" }}{{ $_ := set $found "AVIARY_METRICS_PORT" "9464" }}
{{- end }}
{{- range $name, $file := $values.files }}
{{- if or (not $file.for) (has $component $file.for) }}
{{- $_ := set $found $name (printf "/run/aviary/%s" (lower $name)) }}
{{- end }}
{{- end }}
{{- range $name, $said := $values.settings }}{{ $_ := set $found $name (toString $said) }}{{ end }}
{{- toYaml $found }}
{{- end }}

{{- define "aviary.files" -}}
{{- $component := index . 1 }}
{{- range $name, $file := (index . 0).Values.files }}
{{- if or (not $file.for) (has $component $file.for) }}
- {{ if $file.secret }}secret{{ else }}configMap{{ end }}:
    name: {{ $file.secret | default $file.configMap }}
    items: [{key: {{ $file.key | quote }}, path: {{ lower $name }}}]
{{- end }}
{{- end }}
{{- end }}

{{- define "aviary.account" -}}
{{- $top := index . 0 -}}
{{ include "aviary.name" $top }}{{ if has (index . 1) (list "worker" "watcher") }}-{{ index . 1 }}{{ end }}
{{- end }}

{{- define "aviary.pod" -}}
{{- $top := index . 0 }}{{ $component := index . 1 }}{{ $values := index $top.Values $component }}
{{- $port := ternary 8088 9464 (eq $component "webhook") -}}
metadata:
  labels:
    {{- include "aviary.selector" (list $top $component) | nindent 4 }}
    {{- if eq $component "worker" }}
    aviary.dev/worker: {{ include "aviary.version" $top }}
    {{- end }}
  {{- with $values.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "aviary.account" (list $top $component) }}
  automountServiceAccountToken: {{ has $component (list "worker" "watcher") }}
  # A Service called aviary-webhook would put an address into AVIARY_WEBHOOK_PORT.
  enableServiceLinks: false
  terminationGracePeriodSeconds: 30
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $top.Values.image.pullSecrets }}
  imagePullSecrets: {{- range . }}
    - name: {{ . }}{{ end }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile: {type: RuntimeDefault}
  {{- with $values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "aviary.selector" (list $top $component) | nindent 10 }}
  containers:
    - name: aviary
      image: {{ include "aviary.image" $top }}
      imagePullPolicy: {{ $top.Values.image.pullPolicy }}
      args: {{ ternary (list "watch" "kubernetes") (list $component) (eq $component "watcher") | toJson }}
      env:
        {{- range $name, $said := include "aviary.settings" (list $top $component) | fromYaml }}
        - name: {{ $name }}
          value: {{ $said | quote }}
        {{- end }}
      ports:
        - name: metrics
          containerPort: {{ $port }}
      startupProbe:
        httpGet: {path: /healthz, port: metrics}
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /healthz, port: metrics}
        periodSeconds: 10
        timeoutSeconds: 5
      readinessProbe:
        httpGet: {path: /readyz, port: metrics}
        periodSeconds: 5
        timeoutSeconds: 5
      resources: {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: catalog, mountPath: /etc/aviary, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        {{- if include "aviary.files" (list $top $component) | trim }}
        - {name: files, mountPath: /run/aviary, readOnly: true}
        {{- end }}
        {{- with $top.Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: catalog
      configMap: {name: {{ $top.Values.catalog.configMap }}}
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- with include "aviary.files" (list $top $component) | trim }}
    - name: files
      projected:
        defaultMode: 288
        sources: {{- . | nindent 10 }}
    {{- end }}
    {{- with $top.Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
