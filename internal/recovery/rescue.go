package recovery

import (
	"fmt"
	"strings"
)

// Rescue names the commands that bring a retained volume back as claim CLAIM-rescue, and the one that removes it.
// A claimRef without UID binds it to the rescue claim and to nobody else; dropping the claimRef would let any
// stranger bind it. The rescue claim carries no label: an operator would adopt it, or have it backed up.
// Removing leaves the data to the storage provider, where they are removed after that.
func (v Volume) Rescue(namespace string) (bringBack []string, remove string) {
	claim := v.Claim + "-rescue"
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/claimRef","value":{"apiVersion":"v1","kind":"PersistentVolumeClaim","namespace":%q,"name":%q}}]`, namespace, claim)
	manifest := fmt.Sprintf(`{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"namespace":%q,"name":%q},"spec":{"storageClassName":%q,"volumeName":%q,"accessModes":["%s"],"resources":{"requests":{"storage":"%d"}}}}`,
		namespace, claim, v.StorageClass, v.Name, strings.Join(v.AccessModes, `","`), v.SizeBytes)
	return []string{
		"kubectl patch pv " + v.Name + " --type=json -p '" + patch + "'",
		"echo '" + manifest + "' | kubectl create -f -",
	}, "kubectl delete pv " + v.Name
}
