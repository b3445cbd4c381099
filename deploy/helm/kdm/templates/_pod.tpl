{{/* What the restricted Pod Security Standard asks of a Pod, and a user of our own. */}}
{{- define "kdm.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ int64 . }}
runAsGroup: {{ int64 . }}
fsGroup: {{ int64 . }} {{- /* the Secrets' files belong to it */}}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* What it asks of a container. */}}
{{- define "kdm.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* How long after SIGTERM a Pod is killed. The kubelet counts the sleep before SIGTERM too. */}}
{{- define "kdm.terminationGracePeriodSeconds" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{ add (int64 .Values.shutdown.preStopSleepSeconds) (ceil .Values.settings.limit_grace_s | int64) 5 }}
{{- else -}}
{{ int64 .Values.terminationGracePeriodSeconds }}
{{- end -}}
{{- end }}

{{/*
The files kdm follows, each in a directory of its own: a volume mounted with subPath would never see a change.
A dict of volume name to a dict of the keys mounted and one of secret, configMap.
*/}}
{{- define "kdm.files" -}}
{{- $tls := .Values.tls }}
tls:
  secret: {{ include "kdm.serverSecret" . | quote }}
  {{- if .Values.trial.enabled }}
  keys: [tls.crt, tls.key, ca.crt]
  {{- else }}
  keys: {{ concat (list $tls.certKey $tls.keyKey) (ternary (list $tls.clientCa.key) list $tls.clientCa.fromServerSecret) | toJson }}
  {{- end }}
{{- if or $tls.clientCa.existingSecret $tls.clientCa.existingConfigMap }}
client-ca:
  secret: {{ $tls.clientCa.existingSecret | quote }}
  configMap: {{ $tls.clientCa.existingConfigMap | quote }}
  keys: [{{ $tls.clientCa.key | quote }}]
{{- end }}
{{- if or $tls.crl.existingSecret $tls.crl.existingConfigMap }}
crl:
  secret: {{ $tls.crl.existingSecret | quote }}
  configMap: {{ $tls.crl.existingConfigMap | quote }}
  keys: [{{ $tls.crl.key | quote }}]
{{- end }}
{{- if not .Values.policy.allowAll }}
policy:
  configMap: {{ include "kdm.policyConfigMap" . | quote }}
  keys: [{{ .Values.policy.key | quote }}]
{{- end }}
{{- with .Values.kubeconfig.existingSecret }}
kubeconfig:
  secret: {{ . | quote }}
  keys: [{{ $.Values.kubeconfig.key | quote }}]
{{- end }}
{{- end }}

{{- define "kdm.policyConfigMap" -}}
{{ .Values.policy.existingConfigMap | default (printf "%s-policy" (include "kdm.fullname" .)) }}
{{- end }}

{{/* Whether kdm asks this cluster's API server with its service account's token. */}}
{{- define "kdm.usesServiceAccount" -}}
{{- if and (eq .Values.settings.repository "kubernetes") (not .Values.kubeconfig.existingSecret) }}true{{ end -}}
{{- end }}

{{/*
The affinity as given, and rather several zones than one. Not by a constraint of the topology: where nodes have no zone, the
scheduler would leave all of them out, and with them the constraint for nodes (requireAllTopologies in its PodTopologySpread).
*/}}
{{- define "kdm.affinity" -}}
{{- $term := dict "topologyKey" "topology.kubernetes.io/zone" "labelSelector" (dict "matchLabels" (include "kdm.selectorLabels" . | fromYaml)) "matchLabelKeys" (list "pod-template-hash") -}}
{{- $zones := dict "preferredDuringSchedulingIgnoredDuringExecution" (list (dict "weight" 100 "podAffinityTerm" $term)) -}}
{{- $given := .Values.affinity | default dict -}}
{{- ternary $given (merge (deepCopy $given) (dict "podAntiAffinity" $zones)) (hasKey $given "podAntiAffinity") | toYaml }}
{{- end }}
