package gitops

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Where the platform's parts have the Kopia repository: as a volume of this name, mounted there.
const (
	repositoryVolume = "repository"
	repositoryMount  = "/repository"
)

// Exports are the NFS exports that are used as the Kopia repository, as SERVER:PATH, by who names them: "Deployment
// pvc-plumber/pvc-plumber", "ClusterPolicy volsync-nfs-inject". That is a volume called repository, or one that is
// mounted at /repository; other exports, of media say, are not looked at. A repository that is mounted through a claim
// is not seen.
func (p *Platform) Exports(ctx context.Context) (map[string]string, error) {
	known, err := p.model(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, entries := range [][]entry{known.synced, p.besides(known)} {
		for i := range entries {
			object := &entries[i].object
			if object.GetKind() == "CustomResourceDefinition" {
				continue
			}
			for volume, export := range exportsOf(object) {
				name := title(object)
				if other, taken := found[name]; taken && other != export {
					name += " volume " + volume
				}
				found[name] = export
			}
		}
	}
	return found, nil
}

// exportsOf are those of one object by the volume's name. Policies lay Pods' fields over those of others, so that the
// same fields are found wherever they stand.
func exportsOf(object *unstructured.Unstructured) map[string]string {
	mounted := map[string]bool{repositoryVolume: true}
	visitMaps(object.Object["spec"], func(node map[string]any) {
		if textOf(node, "mountPath") == repositoryMount {
			mounted[textOf(node, "name")] = true
		}
	})
	found := map[string]string{}
	visitMaps(object.Object["spec"], func(node map[string]any) {
		nfs, _ := node["nfs"].(map[string]any)
		if nfs == nil {
			csi, _ := node["csi"].(map[string]any)
			nfs, _ = csi["volumeAttributes"].(map[string]any)
		}
		server, path := textOf(nfs, "server"), firstOf(textOf(nfs, "path"), textOf(nfs, "share"))
		if name := textOf(node, "name"); mounted[name] && server != "" && path != "" {
			found[name] = server + ":" + path
		}
	})
	return found
}
