package lab_test

import "strings"

func settings(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: one}\ndata: {mode: fast}\n"
}

// failingHook is a Job that no node takes and that does not wait for one.
const failingHook = `apiVersion: batch/v1
kind: Job
metadata:
  name: fails
  namespace: one
  annotations: {argocd.argoproj.io/hook: PreSync}
spec:
  activeDeadlineSeconds: 1
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {no: where}
      containers: [{name: migrate, image: "registry.invalid/migrate:1"}]
`

func wavesTree() map[string]string {
	child := func(name, wave, source string) string {
		return strings.NewReplacer("NAME", name, "WAVE", wave, "SOURCE", source).Replace(`apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: NAME
  namespace: argocd
  annotations: {argocd.argoproj.io/sync-wave: "WAVE"}
spec:
  project: default
  source: {repoURL: "https://example.invalid/platform.git", SOURCE}
  destination: {server: "https://kubernetes.default.svc", namespace: storage}
  syncPolicy:
    automated: {prune: true, selfHeal: true}
    syncOptions: [ServerSideApply=true, CreateNamespace=true]
`)
	}
	hook := func(name, kind string) string {
		return "apiVersion: batch/v1\nkind: Job\nmetadata: {name: " + name + ", namespace: one, annotations: {argocd.argoproj.io/hook: " + kind +
			"}}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: work, image: \"registry.invalid/work:1\"}]}}}\n"
	}
	deployment := func(name string) string {
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + "}\nspec: {replicas: 1, selector: {matchLabels: {app: x}}, template: {metadata: {labels: {app: x}}, " +
			"spec: {containers: [{name: x, image: \"registry.invalid/x:1\"}]}}}\n"
	}
	return map[string]string{
		"apps/kustomization.yaml":              "resources: [network.yaml, storage.yaml, my-apps.yaml]\n",
		"apps/network.yaml":                    child("network", "-1", "chart: network, targetRevision: 1.2.3"),
		"apps/storage.yaml":                    child("storage", "1", "path: storage, targetRevision: main"),
		"apps/my-apps.yaml":                    wavesSet,
		"storage/kustomization.yaml":           "resources: [deployment.yaml]\n",
		"storage/deployment.yaml":              deployment("storage"),
		"my-apps/media/one/kustomization.yaml": "resources: [namespace.yaml, settings.yaml, server.yaml, before.yaml, after.yaml]\nnamespace: one\n",
		"my-apps/media/one/namespace.yaml":     "apiVersion: v1\nkind: Namespace\nmetadata: {name: one, annotations: {argocd.argoproj.io/hook: PreSync, argocd.argoproj.io/sync-wave: \"-1\", argocd.argoproj.io/hook-delete-policy: HookFailed}}\n",
		"my-apps/media/one/settings.yaml":      settings("settings"),
		"my-apps/media/one/server.yaml":        deployment("server"),
		"my-apps/media/one/before.yaml":        hook("before", "PreSync"),
		"my-apps/media/one/after.yaml":         hook("after", "PostSync"),
	}
}

const wavesSet = `apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata:
  name: my-apps
  namespace: argocd
  annotations: {argocd.argoproj.io/sync-wave: "6"}
spec:
  goTemplate: true
  goTemplateOptions: [missingkey=error]
  generators:
    - git:
        repoURL: https://example.invalid/platform.git
        revision: main
        directories:
          - path: my-apps/*/*
          - path: my-apps/*/not-this
            exclude: true
  template:
    metadata:
      name: '{{ .path.basename }}'
      labels: {category: '{{ index .path.segments 1 }}'}
    spec:
      project: default
      source: {repoURL: "https://example.invalid/platform.git", targetRevision: main, path: '{{ .path.path }}'}
      destination: {server: "https://kubernetes.default.svc"}
      syncPolicy:
        automated: {prune: true, selfHeal: true}
        syncOptions: [ServerSideApply=true]
        retry: {limit: 1, backoff: {duration: 100ms, factor: 1, maxDuration: 1s}}
`
