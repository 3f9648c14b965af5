{{- define "features.inner" -}}
{{ .text | quote }}/{{ .number }}
{{- end -}}
{{- define "features.lines" -}}
one: 1
two:
  three: 3
{{- end -}}
