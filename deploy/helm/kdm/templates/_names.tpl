{{/* The name of every object, or what it begins with; short enough for the longest ending. */}}
{{- define "kdm.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $whole := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $whole .Values.fullnameOverride | trunc 48 | trimAll "-" -}}
{{- end }}

{{- define "kdm.serviceAccountName" -}}
{{ .Values.serviceAccount.name | default (include "kdm.fullname" .) }}
{{- end }}

{{- define "kdm.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The Secret with the server's certificate and key. */}}
{{- define "kdm.serverSecret" -}}
{{- if .Values.trial.enabled -}}
{{ include "kdm.fullname" . }}-trial-server
{{- else -}}
{{ .Values.tls.existingSecret | default (printf "%s-server" (include "kdm.fullname" .)) }}
{{- end -}}
{{- end }}

{{/* The Secret with a client's certificate for `helm test`; empty where there is none. */}}
{{- define "kdm.clientSecret" -}}
{{- if .Values.tests.clientSecret -}}
{{ .Values.tests.clientSecret }}
{{- else if .Values.trial.enabled -}}
{{ include "kdm.fullname" . }}-trial-client
{{- end -}}
{{- end }}

{{/* Where the ConfigMaps of parked Deployments are. */}}
{{- define "kdm.parkingNamespace" -}}
{{ .Values.parking.namespace | default .Release.Namespace }}
{{- end }}

{{/* The name of a schedule's CronJob: at most 52 characters, for its Jobs' names add to it. */}}
{{- define "kdm.scheduleName" -}}
{{- $name := index . 1 -}}
{{ include "kdm.fullname" (index . 0) | trunc (int (sub 51 (len $name))) | trimSuffix "-" }}-{{ $name }}
{{- end }}

{{- define "kdm.hasTest" -}}
{{- and .Values.tests.enabled (include "kdm.clientSecret" . | eq "" | not) -}}
{{- end }}

{{/* The names clients reach the Service by, one a line: the first is the one `helm test` uses. */}}
{{- define "kdm.dnsNames" -}}
{{- $service := printf "%s.%s" (include "kdm.fullname" .) .Release.Namespace -}}
{{- concat (list (printf "%s.svc" $service) (printf "%s.svc.%s" $service .Values.clusterDomain) $service (include "kdm.fullname" .)) (.Values.tls.extraDnsNames | default list) | uniq | join "\n" -}}
{{- end }}

{{/* The name of what lies outside the release's namespace, where another release of the same name may have one too. */}}
{{- define "kdm.clusterScopedName" -}}
{{ .Release.Namespace }}:{{ include "kdm.fullname" . }}
{{- end }}
