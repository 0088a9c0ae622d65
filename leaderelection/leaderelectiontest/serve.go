package leaderelectiontest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// freshnessTimeout is how long a real server waits for a resourceVersion that
// it does not know yet.
const freshnessTimeout = 3 * time.Second

// answer is what the server says to a request: an object or an error.
type answer struct {
	code   int
	object runtime.Object
	watch  *watchStream
}

func answerError(err error) answer {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		status = apierrors.NewInternalError(err)
	}
	s := status.Status()
	s.APIVersion, s.Kind = "v1", "Status"
	return answer{code: int(s.Code), object: &s}
}

func answerLease(code int, lease *coordinationv1.Lease, err error) answer {
	if err != nil {
		return answerError(err)
	}
	return answer{code: code, object: withKind(lease)}
}

// withKind is a copy that says what it is, as objects on the wire do.
func withKind(lease *coordinationv1.Lease) *coordinationv1.Lease {
	lease = lease.DeepCopy()
	lease.APIVersion, lease.Kind = coordinationv1.SchemeGroupVersion.String(), "Lease"
	return lease
}

// serve applies a request that has arrived.
func (x *exchange) serve() answer {
	if err := x.authorize(x.request.Verb); err != nil {
		return answerError(err)
	}
	switch x.request.Verb {
	case "get", "list", "watch":
		return x.serveRead()
	}
	x.server.mu.Lock()
	defer x.server.mu.Unlock()
	switch r := x.request; r.Verb {
	case "create":
		if r.Lease.ResourceVersion != "" && r.Lease.ResourceVersion != "0" {
			return answerError(apierrors.NewInternalError(fmt.Errorf("resourceVersion should not be set on objects to be created")))
		}
		lease, err := x.server.createLocked(r.by(), r.key(), r.Lease)
		return answerLease(http.StatusCreated, lease, err)
	case "update":
		if x.server.leases[r.key()] == nil {
			if err := x.authorizeLocked("create"); err != nil {
				return answerError(err)
			}
		}
		lease, created, err := x.server.updateLocked(r.by(), r.key(), r.Lease)
		if created {
			return answerLease(http.StatusCreated, lease, err)
		}
		return answerLease(http.StatusOK, lease, err)
	case "patch":
		lease, err := x.server.patchLocked(r)
		return answerLease(http.StatusOK, lease, err)
	case "delete":
		return x.serveDeleteLocked()
	}
	panic("bug: verb " + x.request.Verb)
}

func (x *exchange) serveDeleteLocked() answer {
	r := x.request
	var options metav1.DeleteOptions
	if len(r.body) > 0 {
		if err := decodeInto(r.body, &options); err != nil {
			return answerError(apierrors.NewBadRequest(err.Error()))
		}
	}
	if len(options.DryRun) > 0 {
		return answerError(apierrors.NewBadRequest("leaderelectiontest does not serve dry runs"))
	}
	lease, err := x.server.deleteLocked(r.by(), r.key(), &options)
	if err != nil {
		return answerError(err)
	}
	if len(lease.Finalizers) > 0 {
		return answerLease(http.StatusOK, lease, nil)
	}
	return answer{code: http.StatusOK, object: &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusSuccess,
		Details: &metav1.StatusDetails{Name: r.Name, Group: leaseResource.Group, Kind: leaseResource.Resource, UID: lease.UID},
	}}
}

func (x *exchange) serveRead() answer {
	options, err := parseReadOptions(x.request)
	if err != nil {
		return answerError(err)
	}
	if x.request.Verb == "watch" {
		return answer{code: http.StatusOK, watch: x.newWatchStream(options)}
	}
	if err := x.awaitRevision(options.resourceVersion); err != nil {
		return answerError(err)
	}
	x.server.mu.Lock()
	defer x.server.mu.Unlock()
	if x.request.Verb == "get" {
		lease, err := x.server.getLocked(x.request.key())
		return answerLease(http.StatusOK, lease, err)
	}
	if options.exact && options.resourceVersion != x.server.revision {
		return answerError(apierrors.NewResourceExpired(fmt.Sprintf("The resourceVersion for the provided list is too old: %d (%d)", options.resourceVersion, x.server.revision)))
	}
	list := &coordinationv1.LeaseList{
		TypeMeta: metav1.TypeMeta{APIVersion: coordinationv1.SchemeGroupVersion.String(), Kind: "LeaseList"},
		ListMeta: metav1.ListMeta{ResourceVersion: strconv.FormatInt(x.server.revision, 10)},
		Items:    []coordinationv1.Lease{},
	}
	for _, lease := range x.server.matchingLocked(options) {
		list.Items = append(list.Items, *lease.DeepCopy())
	}
	return answer{code: http.StatusOK, object: list}
}

// matchingLocked returns the Leases that options select, by namespace and name.
func (s *Server) matchingLocked(options readOptions) []*coordinationv1.Lease {
	var found []*coordinationv1.Lease
	for _, lease := range s.leases {
		if options.matches(lease) {
			found = append(found, lease)
		}
	}
	slices.SortFunc(found, func(a, b *coordinationv1.Lease) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return found
}

// awaitRevision waits until the server has reached a revision that a reader
// wants to have seen; in vain after history was rewound.
func (x *exchange) awaitRevision(wanted int64) error {
	reached := func() bool { return x.server.revision >= wanted }
	if err := x.pause(freshnessTimeout, reached); err != nil {
		return err
	}
	x.server.mu.Lock()
	defer x.server.mu.Unlock()
	if reached() {
		return nil
	}
	err := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %d, current: %d", wanted, x.server.revision), 1)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version",
	}}
	return err
}
