{{/* Rules of network policies. */}}

{{/* What every pod may reach. */}}
{{- define "goldbook.egress" -}}
- ports:
    {{- range .Values.networkPolicy.dns.ports }}
    - port: {{ int . }}
      protocol: UDP
    - port: {{ int . }}
      protocol: TCP
    {{- end }}
  {{- with include "goldbook.peers" (list "to" .Values.networkPolicy.dns.to) }}{{ . | nindent 2 }}{{- end }}
- ports:
    - port: {{ .Values.database.port }}
      protocol: TCP
  {{- with include "goldbook.peers" (list "to" .Values.networkPolicy.database.to) }}{{ . | nindent 2 }}{{- end }}
{{- with .Values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Who may call. Unless somebody says it, whatever runs beside the gateways of the route may, too: so do most proxies. */}}
{{- define "goldbook.callers" -}}
{{- $from := .Values.networkPolicy.grpc.from -}}
{{- if and .Values.route.enabled (eq (toJson $from) "[{\"podSelector\":{}}]") -}}
{{- range .Values.route.parentRefs -}}
{{- if ne (default $.Release.Namespace .namespace) $.Release.Namespace -}}
{{- $from = append $from (dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" .namespace))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml (uniq $from) -}}
{{- end -}}

{{/* The port of the collector: that of its pods, if it is another than that of the address. */}}
{{- define "goldbook.otlpPort" -}}
{{- $url := urlParse .Values.telemetry.otlpEndpoint -}}
{{- $own := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- int (coalesce .Values.networkPolicy.otlp.port $own (ternary "443" "80" (eq $url.scheme "https"))) -}}
{{- end -}}

{{/* No peers are all of them. */}}
{{- define "goldbook.peers" -}}
{{- with index . 1 -}}
{{ index $ 0 }}:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}
