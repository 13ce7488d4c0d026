{{/* Rules of network policies. */}}

{{- define "goldbook.egress" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
  {{- with include "goldbook.peers" (list "to" .Values.networkPolicy.dns.to) }}{{ . | nindent 2 }}{{- end }}
- ports:
    - port: {{ .Values.database.port }}
      protocol: TCP
  {{- with include "goldbook.peers" (list "to" .Values.networkPolicy.database.to) }}{{ . | nindent 2 }}{{- end }}
{{- end -}}

{{/* No peers are all of them. */}}
{{- define "goldbook.peers" -}}
{{- with index . 1 -}}
{{ index $ 0 }}:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}
