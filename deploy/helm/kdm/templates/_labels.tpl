{{/* What selects the Pods of a release, by their part in it. It must never change: a Deployment's selector cannot. */}}
{{- define "kdm.partLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* What selects the Pods that serve. */}}
{{- define "kdm.selectorLabels" -}}
{{ include "kdm.partLabels" (list . "server") }}
{{- end }}

{{/* What selects the Pod of `helm test`: never what the Services select. */}}
{{- define "kdm.testLabels" -}}
{{ include "kdm.partLabels" (list . "test") }}
{{- end }}

{{/* What selects the Pods of schedules: never what the Services select. */}}
{{- define "kdm.scheduleLabels" -}}
{{ include "kdm.partLabels" (list . "schedule") }}
{{- end }}

{{/* The labels of schedules' Jobs and Pods: what selects them, then commonLabels. */}}
{{- define "kdm.scheduleJobLabels" -}}
{{- merge (include "kdm.scheduleLabels" . | fromYaml) (.Values.commonLabels | default dict) | toYaml }}
{{- end }}

{{/* The labels of every object: the chart's own, then commonLabels. */}}
{{- define "kdm.labels" -}}
{{ include "kdm.labelsWith" (list . dict) }}
{{- end }}

{{/* The same with more labels, which win over commonLabels. Each key is there once, and the chart's own are its own. */}}
{{- define "kdm.labelsWith" -}}
{{- $root := index . 0 -}}
{{- $own := omit (include "kdm.partLabels" (list $root "") | fromYaml) "app.kubernetes.io/component" -}}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- merge $own (index . 1 | default dict) ($root.Values.commonLabels | default dict) | toYaml }}
{{- end }}

{{/* The labels of the Pods: what selects them, then podLabels, then commonLabels. */}}
{{- define "kdm.podLabels" -}}
{{- merge (include "kdm.selectorLabels" . | fromYaml) (.Values.podLabels | default dict) (.Values.commonLabels | default dict) | toYaml }}
{{- end }}
