package restoreworld

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/drctl/drctl/internal/lab"
)

// manifests of the application, as a user of the platform writes them.
const claimManifest = `apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: data
  namespace: notes
  labels:
    backup: hourly
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: CLASS
  resources:
    requests:
      storage: 1Gi
`

const deploymentManifest = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: notes
  namespace: notes
spec:
  replicas: 1
  strategy:
    type: Recreate
  selector:
    matchLabels:
      app: notes
  template:
    metadata:
      labels:
        app: notes
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: notes
          image: registry.example.org/notes:1
          command: [sleep, infinity]
          volumeMounts:
            - name: data
              mountPath: /data
      volumes:
        - name: data
          persistentVolumeClaim:
            claimName: data
`

// writeApplication writes the GitOps tree.
func writeApplication(tree, class string) error {
	if class == "" {
		class = lab.RestoreClass
	}
	folder := filepath.Join(tree, "my-apps", "media", "notes")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("restoreworld: %w", err)
	}
	for name, content := range map[string]string{
		"kustomization.yaml": "resources: [pvc.yaml, deployment.yaml]\n",
		"pvc.yaml":           strings.ReplaceAll(claimManifest, "CLASS", class),
		"deployment.yaml":    deploymentManifest,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			return fmt.Errorf("restoreworld: %w", err)
		}
	}
	return nil
}
