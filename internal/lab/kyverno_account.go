package lab

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// accountKubeconfig writes a kubeconfig with a token of the ServiceAccount and gives its path. A controller
// that runs with it has the rights of its manifest and no more, and is known by its real name: Kyverno
// treats the requests of its own accounts differently.
func (k *Kubernetes) accountKubeconfig(ctx context.Context, client kubernetes.Interface, namespace, account string) (string, error) {
	action := fmt.Sprintf("token of ServiceAccount %s/%s", namespace, account)
	seconds := int64(certLifetime.Seconds())
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	granted, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return "", wrap(err, action)
	}
	const name = "lab"
	config := api.NewConfig()
	config.Clusters[name] = &api.Cluster{Server: k.URL, CertificateAuthorityData: k.authority.PEM}
	config.AuthInfos[account] = &api.AuthInfo{Token: granted.Status.Token}
	config.Contexts[name] = &api.Context{Cluster: name, AuthInfo: account}
	config.CurrentContext = name
	path := k.path(account + ".kubeconfig")
	return path, wrap(clientcmd.WriteToFile(*config, path), action)
}

// maySeeItsPolicies reports whether the controller-manager has put the account's roles together: a controller
// that starts before that ends at once, since it finds its own definitions forbidden.
func (v *Kyverno) maySeeItsPolicies(ctx context.Context, account string) error {
	user := "system:serviceaccount:" + KyvernoNamespace + ":" + account
	for _, asked := range []authorizationv1.ResourceAttributes{
		{Verb: "get", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions", Name: "clusterpolicies.kyverno.io"},
		{Verb: "list", Group: "kyverno.io", Resource: "clusterpolicies"},
	} {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + KyvernoNamespace, "system:authenticated"}, ResourceAttributes: &asked,
		}}
		answer, err := v.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return wrap(err, "ask for the rights of "+account)
		}
		if !answer.Status.Allowed {
			return fmt.Errorf("lab: %s may not %s %s yet", user, asked.Verb, asked.Resource)
		}
	}
	return nil
}
