{{/* What values.schema.json cannot say: which values need each other. Each fault says what to do. */}}
{{- define "goldbook.validate" -}}
{{- $faults := list -}}
{{- $values := .Values -}}
{{- if not $values.image.repository -}}
{{- $faults = append $faults "image.repository: say where the image is" -}}
{{- end -}}
{{- if and (not $values.tls.enabled) (not $values.listen.insecure) -}}
{{- $faults = append $faults "tls.enabled: others could read and change what is sent: give the service TLS, or set listen.insecure if something in front of it has TLS, such as a service mesh" -}}
{{- end -}}
{{- if and $values.tls.enabled $values.listen.insecure -}}
{{- $faults = append $faults "listen.insecure: there is TLS already; choose one" -}}
{{- end -}}
{{- if and $values.tls.enabled (not $values.tls.certManager.enabled) (not $values.tls.secret.name) -}}
{{- $faults = append $faults "tls.secret.name: name the secret with the certificate, or let cert-manager make one with tls.certManager.enabled" -}}
{{- end -}}
{{- if and (not $values.tls.enabled) (or $values.tls.certManager.enabled $values.tls.clientCa.configMap $values.tls.clientCa.secret) -}}
{{- $faults = append $faults "tls.enabled: certManager and clientCa need it" -}}
{{- end -}}
{{- if and $values.tls.certManager.enabled (not $values.tls.certManager.issuer.name) -}}
{{- $faults = append $faults "tls.certManager.issuer.name: say which issuer signs the certificate" -}}
{{- end -}}
{{- $files := compact (list $values.config.text $values.config.configMap.name $values.config.secret.name) -}}
{{- if gt (len $files) 1 -}}
{{- $faults = append $faults "config: choose one of text, configMap and secret" -}}
{{- end -}}
{{- if regexMatch "database_url" $values.config.text -}}
{{- $faults = append $faults "config.text: the URL of a database may hold a password: put it into a secret, with database.service.urlSecret or config.secret" -}}
{{- end -}}
{{- if and (not $values.serve.apiKeys) (not $files) -}}
{{- $faults = append $faults "serve.apiKeys: the service would not ask callers who they are: let API keys count, or name issuers of tokens or certificates of callers in config" -}}
{{- end -}}
{{- range $name, $roots := dict "database.rootCertificate" $values.database.rootCertificate "tls.clientCa" $values.tls.clientCa -}}
{{- if and $roots.configMap $roots.secret -}}
{{- $faults = append $faults (printf "%s: choose one of configMap and secret" $name) -}}
{{- end -}}
{{- end -}}
{{- if not (or (include "goldbook.database.isConfigured" (list . "service")) $values.config.secret.name) -}}
{{- $faults = append $faults "database: say where it is, with database.host, database.service.urlSecret.name, or a configuration file in config.secret" -}}
{{- end -}}
{{- if and $values.migration.enabled (not (include "goldbook.database.isConfigured" (list . "owner"))) -}}
{{- $faults = append $faults "database.owner.urlSecret.name: migrations need the owner's URL: name its secret or database.host, or set migration.enabled to false" -}}
{{- end -}}
{{- if and $values.audit.enabled (not (include "goldbook.database.isConfigured" (list . "service"))) -}}
{{- $faults = append $faults "database.service.urlSecret.name: audits read no configuration file: name the secret or database.host, or set audit.enabled to false" -}}
{{- end -}}
{{- $roles := ternary (list "service" "owner") (list "service") $values.migration.enabled -}}
{{- range $roles -}}
{{- $role := index $values.database . -}}
{{- if and $values.database.host (not (or $role.urlSecret.name $role.passwordSecret.name $role.certificateSecret.name)) -}}
{{- $faults = append $faults (printf "database.%s: name the secret with the role's password, in passwordSecret, or with its certificate, in certificateSecret" .) -}}
{{- end -}}
{{- if and $role.urlSecret.name $role.passwordSecret.name -}}
{{- $faults = append $faults (printf "database.%s: choose one of urlSecret and passwordSecret" .) -}}
{{- end -}}
{{- end -}}
{{- if and $values.service.headless (ne $values.service.type "ClusterIP") -}}
{{- $faults = append $faults "service.headless: it has no address that service.type could publish; choose one" -}}
{{- end -}}
{{- if and $values.autoscaling.enabled (gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) -}}
{{- $faults = append $faults "autoscaling.minReplicas: it must not be above maxReplicas" -}}
{{- end -}}
{{- if and $values.route.enabled (not $values.route.parentRefs) -}}
{{- $faults = append $faults "route.parentRefs: name the gateway" -}}
{{- end -}}
{{- if and $values.route.backendTls.enabled (not (and $values.route.enabled $values.tls.enabled)) -}}
{{- $faults = append $faults "route.backendTls.enabled: it needs route.enabled and tls.enabled" -}}
{{- end -}}
{{- if and $values.route.backendTls.enabled (not $values.route.backendTls.caConfigMap) -}}
{{- $faults = append $faults "route.backendTls.caConfigMap: name the config map with the roots that the gateway trusts" -}}
{{- end -}}
{{- if $faults -}}
{{- fail (printf "\n\n- %s\n" (join "\n- " $faults)) -}}
{{- end -}}
{{- end -}}
