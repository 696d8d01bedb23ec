package helm

import "helm.sh/helm/v4/pkg/action"

var _ = action.NewInstall
