package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podSetup is what a Pod refers to, as files and values on this machine.
type podSetup struct {
	// volumes are folders by the volume's name.
	volumes map[string]string
	// env is each container's environment by the container's name.
	env map[string][]string
	// account is the folder with the ServiceAccount's token.
	account string
}

// accountFolder is where programs look for their ServiceAccount.
const accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

func (r *podRunner) setUp(ctx context.Context) (podSetup, error) {
	setup := podSetup{volumes: map[string]string{}, env: map[string][]string{}}
	for i := range r.pod.Spec.Volumes {
		volume := &r.pod.Spec.Volumes[i]
		folder, err := r.volume(ctx, volume)
		if err != nil {
			return setup, fmt.Errorf("volume %s: %w", volume.Name, err)
		}
		setup.volumes[volume.Name] = folder
	}
	for _, containers := range [][]corev1.Container{r.pod.Spec.InitContainers, r.pod.Spec.Containers} {
		for i := range containers {
			env, err := r.environment(ctx, &containers[i])
			if err != nil {
				return setup, err
			}
			setup.env[containers[i].Name] = env
		}
	}
	var err error
	setup.account, err = r.serviceAccount(ctx)
	return setup, err
}

func (r *podRunner) volume(ctx context.Context, volume *corev1.Volume) (string, error) {
	switch {
	case volume.PersistentVolumeClaim != nil:
		claim, err := r.boundClaim(ctx, volume.PersistentVolumeClaim.ClaimName)
		if err != nil {
			return "", err
		}
		folder := r.node.provisioner.Folder(claim.Spec.VolumeName)
		if _, err := os.Stat(folder); err != nil {
			return "", err
		}
		return folder, r.giveToGroup(folder)
	case volume.EmptyDir != nil:
		folder, err := r.files("empty-"+volume.Name, nil)
		if err != nil {
			return "", err
		}
		return folder, os.Chmod(folder, 0o777)
	case volume.NFS != nil:
		return localExport(volume.NFS)
	case volume.Secret != nil:
		secret, err := r.node.client.CoreV1().Secrets(r.pod.Namespace).Get(ctx, volume.Secret.SecretName, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return r.files("secret-"+volume.Name, chosenKeys(secret.Data, volume.Secret.Items))
	}
	return "", fmt.Errorf("the lab's node does not know this kind of volume: %v", volume.VolumeSource)
}

func chosenKeys(data map[string][]byte, items []corev1.KeyToPath) map[string][]byte {
	if len(items) == 0 {
		return data
	}
	chosen := map[string][]byte{}
	for _, item := range items {
		chosen[item.Path] = data[item.Key]
	}
	return chosen
}

// boundClaim gives the claim once it has its volume: a kubelet waits for that too.
func (r *podRunner) boundClaim(ctx context.Context, name string) (*corev1.PersistentVolumeClaim, error) {
	claim, err := r.node.client.CoreV1().PersistentVolumeClaims(r.pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if claim.Status.Phase != corev1.ClaimBound {
		return nil, fmt.Errorf("claim %s is not bound", name)
	}
	return claim, nil
}

func (r *podRunner) claimsBound(ctx context.Context) error {
	for _, volume := range r.pod.Spec.Volumes {
		if volume.PersistentVolumeClaim == nil {
			continue
		}
		if _, err := r.boundClaim(ctx, volume.PersistentVolumeClaim.ClaimName); err != nil {
			return err
		}
	}
	return nil
}

// files makes a folder of the Pod's own, with these files in it.
func (r *podRunner) files(name string, content map[string][]byte) (string, error) {
	folder := filepath.Join(r.dir, name)
	if err := os.MkdirAll(folder, 0o770); err != nil {
		return "", err
	}
	owned := []string{folder}
	for file, body := range content {
		path := filepath.Join(folder, file)
		if err := os.WriteFile(path, body, 0o640); err != nil {
			return "", err
		}
		owned = append(owned, path)
	}
	return folder, r.node.account.own(owned...)
}

// serviceAccount asks for a token of the Pod's ServiceAccount, as a kubelet does. What the program may do
// is then what the operator's Role says.
func (r *podRunner) serviceAccount(ctx context.Context) (string, error) {
	name := r.pod.Spec.ServiceAccountName
	if name == "" {
		name = "default"
	}
	token, err := r.node.client.CoreV1().ServiceAccounts(r.pod.Namespace).
		CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("token of ServiceAccount %s: %w", name, err)
	}
	return r.files("service-account", map[string][]byte{
		"token": []byte(token.Status.Token), "ca.crt": r.node.kubernetes.authority.PEM, "namespace": []byte(r.pod.Namespace),
	})
}

// environment is what the image, the node and the Pod say.
func (r *podRunner) environment(ctx context.Context, spec *corev1.Container) ([]string, error) {
	env := []string{
		"PATH=" + r.node.account.bin + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/tmp", "LANG=C.UTF-8",
		"HOSTNAME=" + r.pod.Name, "KUBERNETES_SERVICE_HOST=127.0.0.1", "KUBERNETES_SERVICE_PORT=" + strconv.Itoa(r.node.kubernetes.port),
		"AWS_EC2_METADATA_DISABLED=true",
	}
	for _, variable := range spec.Env {
		value, err := r.variable(ctx, &variable)
		if err != nil {
			return nil, err
		}
		env = append(env, variable.Name+"="+value)
	}
	return env, nil
}

func (r *podRunner) variable(ctx context.Context, variable *corev1.EnvVar) (string, error) {
	from := variable.ValueFrom
	switch {
	case from == nil:
		return variable.Value, nil
	case from.SecretKeyRef != nil:
		secret, err := r.node.client.CoreV1().Secrets(r.pod.Namespace).Get(ctx, from.SecretKeyRef.Name, metav1.GetOptions{})
		if err != nil {
			return "", missingReference("secret", from.SecretKeyRef.Name, err)
		}
		value, found := secret.Data[from.SecretKeyRef.Key]
		if !found {
			return "", missingReference("secret", from.SecretKeyRef.Name, fmt.Errorf("couldn't find key %s", from.SecretKeyRef.Key))
		}
		return string(value), nil
	case from.FieldRef != nil && from.FieldRef.FieldPath == "metadata.name":
		return r.pod.Name, nil
	case from.FieldRef != nil && from.FieldRef.FieldPath == "metadata.namespace":
		return r.pod.Namespace, nil
	}
	return "", missingReference("variable", variable.Name, fmt.Errorf("the lab's node does not know this source: %v", from))
}

// newContainer puts a container together. CloudNativePG's run as the machine's account for PostgreSQL,
// whatever number the image has for it; a mover as its Pod says.
func (r *podRunner) newContainer(setup podSetup, spec *corev1.Container) (*container, error) {
	c := &container{
		name: spec.Name, dir: r.dir, env: setup.env[spec.Name], command: append(append([]string{}, spec.Command...), spec.Args...),
		mounts: []containerMount{{setup.account, accountFolder}}, setpriv: "--clear-groups",
	}
	if credential := r.node.account.credential; credential != nil {
		c.uid, c.gid = int(credential.Uid), int(credential.Gid)
	}
	if len(c.command) == 0 {
		return nil, fmt.Errorf("lab: container %s has no command, and the lab has no images", spec.Name)
	}
	switch {
	case c.command[0] == moverInPod:
		r.runAsMover(c, spec)
	case !strings.HasPrefix(c.command[0], managerInPod):
		c.mounts = append(c.mounts, containerMount{r.node.options.Manager, "/manager"})
	}
	for _, mount := range spec.VolumeMounts {
		source, found := setup.volumes[mount.Name]
		if !found {
			return nil, fmt.Errorf("lab: container %s mounts volume %s, which the Pod does not have", spec.Name, mount.Name)
		}
		c.mounts = append(c.mounts, containerMount{filepath.Join(source, mount.SubPath), mount.MountPath})
	}
	// A folder before what is mounted into it, as container runtimes have it.
	slices.SortStableFunc(c.mounts, func(a, b containerMount) int { return strings.Compare(a.target, b.target) })
	return c, nil
}
