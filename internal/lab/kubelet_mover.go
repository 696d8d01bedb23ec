package lab

import (
	"fmt"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// moverInPod is the command of VolSync's Kopia movers.
// Source: perfectra1n/volsync internal/controller/mover/kopia/mover.go, configureContainer.
const moverInPod = moverFolder + "/entry.sh"

// moverFolder is where a mover's container has its program.
const moverFolder = "/mover-kopia"

// runAsMover gives a container the mover's program, and the user, group and capabilities that its Pod asks
// for: without the capabilities, root may neither give files away nor read what belongs to others.
func (r *podRunner) runAsMover(c *container, spec *corev1.Container) {
	c.mounts = append(c.mounts, containerMount{r.node.options.Mover, moverFolder})
	if pod := r.pod.Spec.SecurityContext; pod != nil {
		c.uid, c.gid = number(pod.RunAsUser), number(pod.RunAsGroup)
		if pod.FSGroup != nil {
			c.setpriv = fmt.Sprintf("--groups %d", *pod.FSGroup)
		}
	}
	kept := "-all"
	if own := spec.SecurityContext; own != nil {
		if own.RunAsUser != nil {
			c.uid = number(own.RunAsUser)
		}
		if own.Capabilities != nil {
			for _, capability := range own.Capabilities.Add {
				kept += ",+" + strings.ToLower(string(capability))
			}
		}
	}
	c.setpriv += " --bounding-set=" + kept
}

func number(id *int64) int {
	if id == nil {
		return 0
	}
	return int(*id)
}

// giveToGroup lets the Pod's fsGroup write into a volume. A kubelet would change every file below it, too,
// unless fsGroupChangePolicy says OnRootMismatch; that is left out, so that a tree stays comparable.
// Source: k8s.io/kubernetes pkg/volume/volume_linux.go.
func (r *podRunner) giveToGroup(folder string) error {
	pod := r.pod.Spec.SecurityContext
	if !r.isReal() || pod == nil || pod.FSGroup == nil {
		return nil
	}
	if err := os.Lchown(folder, -1, int(*pod.FSGroup)); err != nil {
		return err
	}
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	return os.Chmod(folder, info.Mode()|os.ModeSetgid|0o070)
}

// localExport is the folder behind an NFS export of this machine: there is no NFS client in the lab's
// kernels, and whoever is asked for another server would be right not to answer.
func localExport(source *corev1.NFSVolumeSource) (string, error) {
	if source.Server != "127.0.0.1" {
		return "", fmt.Errorf("the lab's node reaches NFS on 127.0.0.1 only, not on %s", source.Server)
	}
	_, err := os.Stat(source.Path)
	return source.Path, err
}
