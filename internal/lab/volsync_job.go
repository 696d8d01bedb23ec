package lab

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// privilegedMovers is the annotation of a namespace whose movers may act for every owner.
// Source: backube/volsync internal/controller/utils/namespace.go.
const privilegedMovers = "volsync.backube/privileged-movers"

// moverWork is what a mover gets.
type moverWork struct {
	identity kopiaIdentity
	// claim is what it works on; cache is the claim for Kopia's cache, empty for an emptyDir.
	claim, cache    string
	account, secret string
}

// jobName is the name of a mover's Job. (A name of more than 63 characters ends in a number instead.)
// Source: backube/volsync internal/controller/utils/utils.go.
func jobName(r *replication) string {
	prefix := "volsync-" + r.direction() + "-"
	if name := prefix + r.GetName(); len(name) <= 63 {
		return name
	}
	return prefix + fmt.Sprint(crc32.ChecksumIEEE([]byte(r.GetName())))
}

// runMover makes the Job where there is none, and reports whether it succeeded. One that failed as often as it
// may is reported, deleted and made again.
// Source: perfectra1n/volsync internal/controller/mover/kopia/mover.go: ensureJob, handleJobStatus.
func (v *VolSync) runMover(ctx context.Context, r *replication, w moverWork) (bool, error) {
	jobs := v.client.BatchV1().Jobs(r.GetNamespace())
	job, err := v.jobs.Jobs(r.GetNamespace()).Get(jobName(r))
	if err == nil && (job.Status.Succeeded > 0 || job.Status.Failed > 0) {
		// The cache may still have the Job of the run before, which is gone.
		job, err = jobs.Get(ctx, jobName(r), metav1.GetOptions{})
	}
	switch {
	case apierrors.IsNotFound(err):
		_, err := jobs.Create(ctx, v.job(r, w), metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return false, errTooEarly
		}
		return false, err
	case err != nil:
		return false, err
	case job.DeletionTimestamp != nil:
		return false, nil
	case job.Status.Failed >= v.options.BackoffLimit:
		v.report(ctx, r, "Failed", corev1.PodFailed)
		background := metav1.DeletePropagationBackground
		return false, jobs.Delete(ctx, job.Name, metav1.DeleteOptions{PropagationPolicy: &background})
	case job.Status.Succeeded == 0:
		return false, nil
	}
	v.report(ctx, r, "Successful", corev1.PodSucceeded)
	return true, nil
}

func (v *VolSync) job(r *replication, w moverWork) *batchv1.Job {
	one, limit := int32(1), v.options.BackoffLimit
	job := &batchv1.Job{ObjectMeta: r.owned(jobName(r), true), Spec: batchv1.JobSpec{Parallelism: &one, BackoffLimit: &limit}}
	template := &job.Spec.Template
	template.Name, template.Labels = job.Name, map[string]string{createdByLabel: volsyncCreator}
	for key, value := range r.kopiaTexts("moverPodLabels") {
		template.Labels[key] = value
	}
	no, yes := false, true
	container := corev1.Container{
		Name: "kopia", Image: "ghcr.io/perfectra1n/volsync", Command: []string{moverInPod}, Env: v.environment(r, w),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: &no, Privileged: &no, ReadOnlyRootFilesystem: &yes,
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
	container.Args = []string{"restore"}
	if r.isSource() {
		container.Args = []string{"backup"}
	}
	template.Spec = corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, ServiceAccountName: w.account, SecurityContext: r.securityContext(),
	}
	v.mount(r, w, &template.Spec, &container)
	v.privilege(r, &container)
	template.Spec.Containers = []corev1.Container{container}
	return job
}

// mount gives the container its volumes. A restore has an emptyDir around the volume, for what Kopia writes
// beside it.
func (v *VolSync) mount(r *replication, w moverWork, pod *corev1.PodSpec, container *corev1.Container) {
	add := func(name, path string, source corev1.VolumeSource) {
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: name, VolumeSource: source})
		container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: path})
	}
	claim := func(name string) corev1.VolumeSource {
		return corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}
	}
	empty := func(medium corev1.StorageMedium) corev1.VolumeSource {
		return corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: medium}}
	}
	add("data", r.dataFolder(), claim(w.claim))
	add("tempdir", "/tmp", empty(corev1.StorageMediumMemory))
	if !r.isSource() {
		add("restore", "/restore", empty(""))
	}
	if w.cache == "" {
		add("cache", "/cache", empty(""))
	} else {
		add("cache", "/cache", claim(w.cache))
	}
	if v.options.NFSServer != "" {
		add("repository", "/repository", corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: v.options.NFSServer, Path: v.options.NFSPath}})
	}
}

// dataFolder is where the mover has the volume.
func (r *replication) dataFolder() string {
	if r.isSource() {
		return "/data"
	}
	return "/restore/data"
}

// privilege lets the mover act for every owner where its namespace says so.
func (v *VolSync) privilege(r *replication, container *corev1.Container) {
	namespace, err := v.namespaces.Get(r.GetNamespace())
	if err != nil || namespace.Annotations[privilegedMovers] != "true" {
		return
	}
	root := int64(0)
	container.SecurityContext.RunAsUser = &root
	container.SecurityContext.Capabilities.Add = []corev1.Capability{"DAC_OVERRIDE", "CHOWN", "FOWNER"}
}

// serviceAccount gives the mover's ServiceAccount, which is VolSync's own unless another is named.
func (v *VolSync) serviceAccount(ctx context.Context, r *replication) (string, error) {
	if name := r.kopia("moverServiceAccount"); name != "" {
		return name, nil
	}
	account := &corev1.ServiceAccount{ObjectMeta: r.owned("volsync-"+r.direction()+"-"+r.GetName(), false)}
	_, err := v.client.CoreV1().ServiceAccounts(r.GetNamespace()).Create(ctx, account, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		err = nil
	}
	return account.Name, err
}

// secret checks the Secret that opens the repository, and gives its name.
func (v *VolSync) secret(ctx context.Context, r *replication) (string, error) {
	name := v.repositoryOf(r)
	if name == "" {
		return "", errors.New("the name of the repository's Secret is empty")
	}
	secret, err := v.client.CoreV1().Secrets(r.GetNamespace()).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	for _, key := range []string{"KOPIA_REPOSITORY", "KOPIA_PASSWORD"} {
		if len(secret.Data[key]) == 0 {
			return "", fmt.Errorf("secret is missing field: %s", key)
		}
	}
	return name, nil
}
