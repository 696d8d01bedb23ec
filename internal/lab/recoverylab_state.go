package lab

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	apiv1 "github.com/cloudnative-pg/cloudnative-pg/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// healthyTimeout allows for a machine whose cores are busy with other builds and tests.
const healthyTimeout = 5 * time.Minute

// Clusters is the dynamic client for the Clusters of RecoveryNamespace.
func (l *RecoveryLab) Clusters() (dynamic.ResourceInterface, error) {
	client, err := dynamic.NewForConfig(l.Kubernetes.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("lab: client of Clusters: %w", err)
	}
	return client.Resource(schema.GroupVersionResource{Group: "postgresql.cnpg.io", Version: "v1", Resource: "clusters"}).Namespace(RecoveryNamespace), nil
}

// Cluster reads a Cluster of RecoveryNamespace.
func (l *RecoveryLab) Cluster(ctx context.Context, name string) (*apiv1.Cluster, error) {
	clusters, err := l.Clusters()
	if err != nil {
		return nil, err
	}
	object, err := clusters.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("lab: get Cluster %s: %w", name, err)
	}
	cluster := &apiv1.Cluster{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, cluster); err != nil {
		return nil, fmt.Errorf("lab: read Cluster %s: %w", name, err)
	}
	return cluster, nil
}

// WaitHealthy waits until the operator calls a Cluster healthy, and its primary can be found.
func (l *RecoveryLab) WaitHealthy(ctx context.Context, name string) error {
	err := l.poll(ctx, healthyTimeout, func() error {
		cluster, err := l.Cluster(ctx, name)
		if err != nil {
			return err
		}
		if cluster.Status.Phase != apiv1.PhaseHealthy || cluster.Status.ReadyInstances != cluster.Spec.Instances {
			return fmt.Errorf("lab: Cluster %s is in phase %q (%s), %d of %d instances ready", name,
				cluster.Status.Phase, cluster.Status.PhaseReason, cluster.Status.ReadyInstances, cluster.Spec.Instances)
		}
		_, err = l.Primary(ctx, name)
		return err
	})
	if err != nil {
		return fmt.Errorf("%w\n%s\noperator:\n%s", err, l.PodLogs(), tail(l.CNPG.Process.LogPath()))
	}
	return nil
}

// PodLogs is the end of what each container on the node wrote.
func (l *RecoveryLab) PodLogs() string {
	l.Node.mu.Lock()
	defer l.Node.mu.Unlock()
	var text strings.Builder
	for _, runner := range l.Node.runners {
		for _, container := range append(runner.pod.Spec.InitContainers, runner.pod.Spec.Containers...) {
			_, _ = fmt.Fprintf(&text, "%s %s:\n%s\n", runner.pod.Name, container.Name, tail(containerLog(runner.dir, container.Name)))
		}
	}
	return text.String()
}

// WaitGone waits until nothing labelled for a Cluster is left: no Pod, Job or claim.
func (l *RecoveryLab) WaitGone(ctx context.Context, name string) error {
	labelled := metav1.ListOptions{LabelSelector: "cnpg.io/cluster=" + name}
	return l.poll(ctx, healthyTimeout, func() error {
		pods, err := l.client.CoreV1().Pods(RecoveryNamespace).List(ctx, labelled)
		if err != nil {
			return err
		}
		jobs, err := l.client.BatchV1().Jobs(RecoveryNamespace).List(ctx, labelled)
		if err != nil {
			return err
		}
		claims, err := l.client.CoreV1().PersistentVolumeClaims(RecoveryNamespace).List(ctx, labelled)
		if err != nil {
			return err
		}
		if n := len(pods.Items) + len(jobs.Items) + len(claims.Items); n > 0 {
			return fmt.Errorf("lab: %d Pods, %d Jobs, %d claims of %s are left", len(pods.Items), len(jobs.Items), len(claims.Items), name)
		}
		return nil
	})
}

// Server is a Barman server of the lab's database, as the barman-cloud commands take it.
func (l *RecoveryLab) Server(name string) BarmanServer {
	return l.MinIO.Barman(RecoveryDestination, name)
}

// Backup takes a base backup of RecoveryCluster beside CloudNativePG, into the server that the Cluster
// writes to, and gives its ID. All WAL that it needs is archived then.
func (l *RecoveryLab) Backup(ctx context.Context) (string, error) {
	cluster, err := l.Cluster(ctx, RecoveryCluster)
	if err != nil {
		return "", err
	}
	server := l.Server(cluster.Spec.Backup.BarmanObjectStore.ServerName)
	args := append([]string{"barman-cloud-backup"}, server.flags(true)...)
	args = append(args, "--immediate-checkpoint", "--user", "postgres", server.DestinationPath, server.ServerName)
	if _, err := l.inPrimary(ctx, RecoveryCluster, server.env(), args...); err != nil {
		return "", err
	}
	dir, err := l.Stack.Dir("recovery")
	if err != nil {
		return "", err
	}
	newest := ""
	backups, err := server.list(ctx, &postgresAccount{}, dir)
	for _, backup := range backups {
		newest = max(newest, backup.ID)
	}
	if err == nil && newest == "" {
		err = fmt.Errorf("lab: no backup of %s arrived", server.ServerName)
	}
	return newest, err
}

// Inventory is the size in bytes of every object in the bucket of the backups, by key.
func (l *RecoveryLab) Inventory(ctx context.Context) (map[string]int64, error) {
	bucket, sizes := PlatformBucket, map[string]int64{}
	pages := s3.NewListObjectsV2Paginator(l.MinIO.client, &s3.ListObjectsV2Input{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("lab: list bucket %s: %w", bucket, err)
		}
		for _, object := range page.Contents {
			sizes[*object.Key] = *object.Size
		}
	}
	return sizes, nil
}

// Volumes are the volumes of the lab and the folders that stand for them.
func (l *RecoveryLab) Volumes(ctx context.Context) ([]ProvisionedVolume, error) {
	return l.Provisioner.Volumes(ctx)
}
