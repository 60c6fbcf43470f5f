{{/* The objects' name. */}}
{{- define "akubra.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What a pod is found by; it cannot be changed later. */}}
{{- define "akubra.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "akubra.labels" -}}
{{ include "akubra.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{/* The configuration as the proxy reads it. */}}
{{- define "akubra.config" -}}
{{- $own := dict "Listen" ":8080" "MetricsListen" ":8072" "DataDir" "/var/lib/akubra" -}}
{{- $_ := set $own "ShutdownDelay" (printf "%ds" (int .Values.shutdownDelaySeconds)) -}}
{{- $_ := set $own "ShutdownTimeout" (printf "%ds" (int .Values.shutdownTimeoutSeconds)) -}}
{{- toYaml (merge $own .Values.config) -}}
{{- end -}}

{{/* The Secret with the keys, if there is one. */}}
{{- define "akubra.secret" -}}
{{- $c := .Values.credentials -}}
{{- if and $c.existingSecret (or $c.accessKey $c.secretKey) -}}
{{- fail "credentials: existingSecret, or accessKey and secretKey, not both" -}}
{{- else if and $c.secretKey (not $c.accessKey) -}}
{{- fail "credentials.accessKey goes with credentials.secretKey" -}}
{{- end -}}
{{- if .Values.credentials.existingSecret -}}
{{- .Values.credentials.existingSecret -}}
{{- else if .Values.credentials.accessKey -}}
{{- include "akubra.name" . -}}
{{- end -}}
{{- end -}}
