{{/* Names and labels. */}}

{{- define "goldbook.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 39 characters, so that each name that is made from it keeps below the bound of 52 that CronJobs have. */}}
{{- define "goldbook.fullname" -}}
{{- $name := include "goldbook.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 39 | trimSuffix "-" -}}
{{- end -}}

{{/* What selects pods: it can never be changed, so nothing that changes with a release is in it.
Takes a list of the root and the component. */}}
{{- define "goldbook.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "goldbook.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Takes a list of the root, the component, and what has labels beside those of all objects: the last one counts. */}}
{{- define "goldbook.labels" -}}
{{- $root := index . 0 -}}
{{- $others := dict -}}
{{- range prepend (slice . 2) $root.Values.commonLabels -}}
{{- $others = mergeOverwrite $others . -}}
{{- end -}}
{{ include "goldbook.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: goldbook
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with $others }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "goldbook.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "goldbook.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "goldbook.tlsSecret" -}}
{{- default (printf "%s-tls" (include "goldbook.fullname" .)) .Values.tls.secret.name -}}
{{- end -}}

{{/* By digest if there is one: a tag may come to mean another image. */}}
{{- define "goldbook.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What holds for every pod of the chart. Nothing of it can be weakened by a value: it is the profile `restricted` of
Kubernetes's Pod Security Standards, and beyond it a root file system that cannot be written. The service writes no file
when its database is elsewhere, so there is no /tmp either. */}}
{{- define "goldbook.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.podSecurity.runAsUser }}
runAsUser: {{ . }}
{{- end }}
{{- with .Values.podSecurity.runAsGroup }}
runAsGroup: {{ . }}
{{- end }}
{{- with .Values.podSecurity.fsGroup }}
# Lets the service's user read the files of secrets, which belong to root.
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "goldbook.containerSecurityContext" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop:
    - ALL
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "goldbook.scheduling" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}
