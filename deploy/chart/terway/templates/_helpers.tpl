{{- define "terway.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "terway.labels" -}}
app.kubernetes.io/name: terway
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
{{- end -}}

{{- define "terway.endpoints" -}}
{{- with .Values.endpoints }}
{{- if .ecs }}
- {name: ECS_ENDPOINT, value: {{ .ecs | quote }}}
{{- end }}
{{- if .vpc }}
- {name: VPC_ENDPOINT, value: {{ .vpc | quote }}}
{{- end }}
{{- if .slb }}
- {name: SLB_ENDPOINT, value: {{ .slb | quote }}}
{{- end }}
{{- if .nlb }}
- {name: NLB_ENDPOINT, value: {{ .nlb | quote }}}
{{- end }}
{{- if .metadata }}
- {name: METADATA_ENDPOINT, value: {{ .metadata | quote }}}
{{- end }}
{{- end }}
{{- end -}}

{{- define "terway.eniConf" -}}
{{- $conf := dict
  "version" "1"
  "ipam_type" (ternary "crd" "default" .Values.centralizedIPAM)
  "vswitches" .Values.vSwitches
  "vswitch_selection_policy" .Values.vSwitchSelectionPolicy
  "security_groups" .Values.securityGroupIDs
  "service_cidr" .Values.serviceCIDR
  "ip_stack" .Values.ipStack
  "min_pool_size" .Values.pool.minSize
  "max_pool_size" .Values.pool.maxSize
  "ip_warm_up_size" .Values.pool.warmUpSize
  "enable_eni_trunking" (and .Values.trunk (eq .Values.mode "shared"))
  "kube_proxy_replacement" .Values.kubeProxyReplacement
-}}
{{- toPrettyJson (merge .Values.eniConf $conf) -}}
{{- end -}}

{{- define "terway.plugin" -}}
{{- $plugin := dict "type" "terway" "capabilities" (dict "bandwidth" true) -}}
{{- if eq .Values.mode "shared" -}}
{{- $plugin = merge $plugin (dict "eniip_virtual_type" .Values.datapath) -}}
{{- end -}}
{{- toJson (merge .Values.cniConf $plugin) -}}
{{- end -}}
