{{/* How a pod reaches the database. Each takes a list of the root, the role (`service` or `owner`) and what else it needs. */}}

{{/* Whether the role's URL is in the environment. Otherwise the configuration file has to hold it, from a secret. */}}
{{- define "goldbook.database.isConfigured" -}}
{{- $role := index (index . 0).Values.database (index . 1) -}}
{{- if or $role.urlSecret.name (index . 0).Values.database.host -}}true{{- end -}}
{{- end -}}

{{/* The variables. A URL that the chart puts together has no password in it; that comes from a secret, beside it. */}}
{{- define "goldbook.database.env" -}}
{{- $root := index . 0 -}}
{{- $database := $root.Values.database -}}
{{- $role := index $database (index . 1) -}}
{{- $variable := index . 2 -}}
{{- if $role.urlSecret.name }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ $role.urlSecret.name }}
      key: {{ $role.urlSecret.key }}
{{- else if $database.host }}
- name: {{ $variable }}
  value: {{ printf "postgres://%s@%s:%v/%s" (urlquery $role.user) $database.host $database.port $database.name | quote }}
{{- with $role.passwordSecret }}
{{- if .name }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .key }}
{{- end }}
{{- end }}
{{- end }}
- name: PGSSLMODE
  value: {{ $database.sslMode }}
{{- if or $database.rootCertificate.configMap $database.rootCertificate.secret }}
- name: PGSSLROOTCERT
  value: /etc/goldbook/database-ca/ca.crt
{{- end }}
{{- if $role.certificateSecret.name }}
- name: PGSSLCERT
  value: /etc/goldbook/database-certificate/tls.crt
- name: PGSSLKEY
  value: /etc/goldbook/database-certificate/tls.key
{{- end }}
{{- end -}}

{{- define "goldbook.database.mounts" -}}
{{- $database := (index . 0).Values.database -}}
{{- if or $database.rootCertificate.configMap $database.rootCertificate.secret }}
- name: database-ca
  mountPath: /etc/goldbook/database-ca
  readOnly: true
{{- end }}
{{- if (index $database (index . 1)).certificateSecret.name }}
- name: database-certificate
  mountPath: /etc/goldbook/database-certificate
  readOnly: true
{{- end }}
{{- end -}}

{{- define "goldbook.database.volumes" -}}
{{- $database := (index . 0).Values.database -}}
{{- include "goldbook.rootsVolume" (list "database-ca" $database.rootCertificate) }}
{{- with (index $database (index . 1)).certificateSecret }}
{{- if .name }}
- name: database-certificate
  secret:
    secretName: {{ .name }}
    defaultMode: 0440
    items:
      - key: {{ .certificateKey }}
        path: tls.crt
      - key: {{ .privateKeyKey }}
        path: tls.key
{{- end }}
{{- end }}
{{- end -}}

{{/* A volume with the roots of certificates, from a config map or a secret. */}}
{{- define "goldbook.rootsVolume" -}}
{{- $roots := index . 1 -}}
{{- if $roots.configMap }}
- name: {{ index . 0 }}
  configMap:
    name: {{ $roots.configMap }}
    items:
      - key: {{ $roots.key }}
        path: ca.crt
{{- else if $roots.secret }}
- name: {{ index . 0 }}
  secret:
    secretName: {{ $roots.secret }}
    defaultMode: 0440
    items:
      - key: {{ $roots.key }}
        path: ca.crt
{{- end }}
{{- end -}}
