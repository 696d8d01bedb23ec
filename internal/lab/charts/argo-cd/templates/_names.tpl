{{- define "lab.image" -}}
{{- $broken := semverCompare "=9.3.x" .Chart.Version -}}
{{- $repository := .Values.image.repository | default (ternary "broken.invalid/argocd" "registry.invalid/argocd" $broken) -}}
{{- $tag := .Values.image.tag | default (ternary (printf "%s-broken" .Chart.AppVersion) .Chart.AppVersion $broken) -}}
{{ $repository }}:{{ $tag }}
{{- end }}
{{- define "lab.hookImage" -}}
{{- .Values.redisSecretInit.image | default (ternary "broken.invalid/argocd:init-failing" (printf "registry.invalid/argocd:%s" .Chart.AppVersion) (semverCompare "=9.4.x" .Chart.Version)) -}}
{{- end }}
{{- define "lab.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/part-of: argocd
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
