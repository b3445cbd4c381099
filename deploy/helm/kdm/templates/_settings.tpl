{{/* The environment of `kdm serve`: the settings as given, and those that follow from other values. */}}
{{- define "kdm.settings" -}}
{{- $settings := dict }}
{{- range $name, $value := .Values.settings }}
{{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}{{ $value = int64 $value }}{{ end }}
{{- $_ := set $settings (upper $name) (toString $value) }}
{{- end }}
{{- $tls := .Values.tls }}
{{- $trial := .Values.trial.enabled }}
{{- $_ := set $settings "TLS_CERT" (printf "/etc/kdm/tls/%s" (ternary "tls.crt" $tls.certKey $trial)) }}
{{- $_ := set $settings "TLS_KEY" (printf "/etc/kdm/tls/%s" (ternary "tls.key" $tls.keyKey $trial)) }}
{{- $clientCa := printf "/etc/kdm/%s/%s" (ternary "tls" "client-ca" $tls.clientCa.fromServerSecret) $tls.clientCa.key }}
{{- $_ := set $settings "TLS_CLIENT_CA" (ternary "/etc/kdm/tls/ca.crt" $clientCa $trial) }}
{{- if or $tls.crl.existingSecret $tls.crl.existingConfigMap }}
{{- $_ := set $settings "TLS_CLIENT_CRL" (printf "/etc/kdm/crl/%s" $tls.crl.key) }}
{{- end }}
{{- $_ := set $settings "POLICY_FILE" (ternary "allow-all" (printf "/etc/kdm/policy/%s" .Values.policy.key) .Values.policy.allowAll) }}
{{- if .Values.owners.enabled }}
{{- $_ := set $settings "OWNERS" "true" }}
{{- end }}
{{- if .Values.events.enabled }}
{{- $_ := set $settings "EVENTS" "true" }}
{{- end }}
{{- if .Values.namespaces }}
{{- $_ := set $settings "NAMESPACES" (join "," .Values.namespaces) }}
{{- end }}
{{- if .Values.kubeconfig.existingSecret }}
{{- $_ := set $settings "KUBECONFIG" (printf "/etc/kdm/kubeconfig/%s" .Values.kubeconfig.key) }}
{{- if .Values.kubeconfig.context }}
{{- $_ := set $settings "CONTEXT" .Values.kubeconfig.context }}
{{- end }}
{{- end }}
{{- $_ := set $settings "PARKING" (ternary "configmaps" "" .Values.parking.enabled) }}
{{- if .Values.parking.enabled }}
{{- $_ := set $settings "PARKING_NAMESPACE" (include "kdm.parkingNamespace" .) }}
{{- end }}
{{- range list "HOST" "OPS_HOST" }}
{{- $_ := set $settings . (get $settings . | default "*") }}
{{- end }}
{{- range $name, $value := $settings }}
{{- if $value }}
{{- printf "KDM_%s: %q\n" $name $value }}
{{- end }}
{{- end }}
{{- end }}
