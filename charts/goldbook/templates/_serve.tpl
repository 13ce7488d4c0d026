{{/* The container of `goldbook serve`. */}}

{{- define "goldbook.serve.env" -}}
{{- $tls := .Values.tls -}}
{{- $serve := .Values.serve -}}
- name: GOLDBOOK_LISTEN
  value: {{ printf "%s:50051" .Values.listen.address | quote }}
- name: GOLDBOOK_ADMIN_LISTEN
  value: {{ printf "%s:9464" .Values.listen.address | quote }}
{{- include "goldbook.database.env" (list . "service" "GOLDBOOK_DATABASE_URL") }}
- name: GOLDBOOK_WAIT_FOR_DATABASE
  value: {{ .Values.database.waitSeconds | quote }}
{{- if or .Values.config.text .Values.config.configMap.name .Values.config.secret.name }}
- name: GOLDBOOK_CONFIG
  value: /etc/goldbook/config/goldbook.toml
{{- end }}
{{- with .Values.erasureKeys }}
{{- if and .secret.name .asFile }}
- name: GOLDBOOK_ERASURE_KEY_FILE
  value: /etc/goldbook/erasure/erasure-keys
{{- else if .secret.name }}
- name: GOLDBOOK_ERASURE_KEYS
  valueFrom:
    secretKeyRef:
      name: {{ .secret.name }}
      key: {{ .secret.key }}
{{- end }}
{{- end }}
{{- if $tls.enabled }}
- name: GOLDBOOK_TLS_CERTIFICATE
  value: /etc/goldbook/tls/tls.crt
- name: GOLDBOOK_TLS_KEY
  value: /etc/goldbook/tls/tls.key
{{- if or $tls.clientCa.configMap $tls.clientCa.secret }}
- name: GOLDBOOK_TLS_CLIENT_CA
  value: /etc/goldbook/client-ca/ca.crt
{{- end }}
{{- end }}
- name: GOLDBOOK_API_KEYS
  value: {{ $serve.apiKeys | quote }}
- name: GOLDBOOK_REFLECTION
  value: {{ $serve.reflection | quote }}
- name: GOLDBOOK_CONNECTIONS
  value: {{ int $serve.connections | quote }}
{{- with $serve.corsOrigins }}
- name: GOLDBOOK_CORS_ORIGINS
  value: {{ join "," . | quote }}
{{- end }}
- name: GOLDBOOK_LANES
  value: {{ int $serve.lanes | quote }}
- name: GOLDBOOK_READ_CONNECTIONS
  value: {{ int $serve.readConnections | quote }}
- name: GOLDBOOK_DUES_MS
  value: {{ int $serve.duesMs | quote }}
- name: GOLDBOOK_LIABILITY_SECONDS
  value: {{ int $serve.liabilitySeconds | quote }}
- name: GOLDBOOK_RETENTION_MINUTES
  value: {{ int $serve.retentionMinutes | quote }}
- name: GOLDBOOK_EXPORT_MINUTES
  value: {{ int $serve.exportMinutes | quote }}
{{- with $serve.log }}
- name: GOLDBOOK_LOG
  value: {{ . | quote }}
{{- end }}
{{- include "goldbook.telemetry.env" . }}
{{- with .Values.telemetry.alwaysSample }}
- name: GOLDBOOK_ALWAYS_SAMPLE
  value: {{ join "," . | quote }}
- name: GOLDBOOK_SLOW_MS
  value: {{ int $.Values.telemetry.slowMs | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Who sends the spans and metrics, by the names that OpenTelemetry has for it. A variable can use those before it. */}}
{{- define "goldbook.telemetry.env" -}}
{{- with .Values.telemetry.otlpEndpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- with .Values.telemetry.sampler }}
- name: OTEL_TRACES_SAMPLER
  value: {{ . | quote }}
{{- end }}
{{- with .Values.telemetry.samplerArgument }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ . | quote }}
{{- end }}
- name: OTEL_SERVICE_NAME
  value: {{ include "goldbook.name" . }}
{{- range $name, $field := dict "K8S_POD_NAME" "metadata.name" "K8S_POD_UID" "metadata.uid" "K8S_NAMESPACE_NAME" "metadata.namespace" "K8S_NODE_NAME" "spec.nodeName" }}
- name: {{ $name }}
  valueFrom:
    fieldRef:
      fieldPath: {{ $field }}
{{- end }}
{{- $attributes := list "service.instance.id=$(K8S_POD_UID)" "k8s.pod.uid=$(K8S_POD_UID)" "k8s.pod.name=$(K8S_POD_NAME)" "k8s.namespace.name=$(K8S_NAMESPACE_NAME)" "k8s.node.name=$(K8S_NODE_NAME)" (printf "k8s.deployment.name=%s" (include "goldbook.fullname" .)) "k8s.container.name=goldbook" }}
{{- range $name, $value := .Values.telemetry.resourceAttributes }}
{{- $attributes = append $attributes (printf "%s=%s" $name $value) }}
{{- end }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ join "," $attributes | quote }}
{{- end -}}

{{/* gRPC health says NOT_SERVING while the database is away. That is right for readiness. For liveness it would start
replicas again that work, at the worst time: so liveness asks the admin listener, which answers as long as the process
works. Probes of Kubernetes over gRPC speak no TLS. With TLS the admin listener is asked for readiness too, which answers
by gRPC health. The start may take as long as the service waits for its database, and a minute. */}}
{{- define "goldbook.serve.probes" -}}
startupProbe:
  {{- include "goldbook.serve.readinessCheck" . | nindent 2 }}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: {{ div (add .Values.database.waitSeconds 60) 2 }}
livenessProbe:
  httpGet:
    path: /livez
    port: admin
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  {{- include "goldbook.serve.readinessCheck" . | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end -}}

{{- define "goldbook.serve.readinessCheck" -}}
{{- if .Values.tls.enabled -}}
httpGet:
  path: /readyz
  port: admin
{{- else -}}
grpc:
  port: 50051
{{- end -}}
{{- end -}}

{{/* Whole directories are mounted, so that files that are read while the service runs come anew when their secret
changes. */}}
{{- define "goldbook.serve.mounts" -}}
{{- include "goldbook.database.mounts" (list . "service") }}
{{- if or .Values.config.text .Values.config.configMap.name .Values.config.secret.name }}
- name: config
  mountPath: /etc/goldbook/config
  readOnly: true
{{- end }}
{{- if and .Values.erasureKeys.secret.name .Values.erasureKeys.asFile }}
- name: erasure
  mountPath: /etc/goldbook/erasure
  readOnly: true
{{- end }}
{{- if .Values.tls.enabled }}
- name: tls
  mountPath: /etc/goldbook/tls
  readOnly: true
{{- if or .Values.tls.clientCa.configMap .Values.tls.clientCa.secret }}
- name: client-ca
  mountPath: /etc/goldbook/client-ca
  readOnly: true
{{- end }}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "goldbook.serve.volumes" -}}
{{- include "goldbook.database.volumes" (list . "service") }}
{{- with .Values.config }}
{{- if .secret.name }}
- name: config
  secret:
    secretName: {{ .secret.name }}
    defaultMode: 0440
    items:
      - key: {{ .secret.key }}
        path: goldbook.toml
{{- else if or .text .configMap.name }}
- name: config
  configMap:
    name: {{ default (printf "%s-config" (include "goldbook.fullname" $)) .configMap.name }}
    items:
      - key: {{ ternary "goldbook.toml" .configMap.key (ne .text "") }}
        path: goldbook.toml
{{- end }}
{{- end }}
{{- with .Values.erasureKeys }}
{{- if and .secret.name .asFile }}
- name: erasure
  secret:
    secretName: {{ .secret.name }}
    defaultMode: 0440
    items:
      - key: {{ .secret.key }}
        path: erasure-keys
{{- end }}
{{- end }}
{{- if .Values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ include "goldbook.tlsSecret" . }}
    defaultMode: 0440
    items:
      - key: {{ .Values.tls.secret.certificateKey }}
        path: tls.crt
      - key: {{ .Values.tls.secret.privateKeyKey }}
        path: tls.key
{{- include "goldbook.rootsVolume" (list "client-ca" .Values.tls.clientCa) }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
