"""Frozen records that every part of Understudy speaks. Data only; no I/O, no clock.

Times are seconds since the epoch (float, UTC). Money is US dollars as ``Decimal``. Tokens are
counted with o200k_base unless said otherwise.
"""

from understudy.model.batches import (
    BatchFiles,
    BatchLimits,
    BatchReply,
    BatchSpec,
    BatchStatus,
)
from understudy.model.chat import (
    ChatReply,
    ChatRequest,
    Json,
    Message,
    Usage,
)
from understudy.model.deployments import (
    Deployment,
    DeploymentSpec,
)
from understudy.model.exports import (
    ExportedFile,
    ExportSpec,
    ModelExport,
)
from understudy.model.jobs import (
    PAIRED_METHODS,
    Checkpoint,
    Estimate,
    Example,
    JobSpec,
    Lifecycle,
    Method,
    ModelRef,
    Problem,
    Rows,
)
from understudy.model.remote import (
    Absent,
    Found,
    Handle,
    NotYet,
    Progress,
    RemoteEvent,
    RemoteProblem,
    RemoteState,
    RemoteStatus,
    UploadFailed,
    UploadPending,
    UploadReady,
    UploadStatus,
)
from understudy.model.sinks import (
    DatasetItem,
    Delivery,
    ExperimentItem,
    ExperimentRun,
    Rejection,
    Score,
    SinkReport,
    TracedCall,
)
from understudy.model.traces import (
    Conversation,
    Drop,
    TracePage,
    TraceRecord,
)

__all__ = [
    "PAIRED_METHODS",
    "Absent",
    "BatchFiles",
    "BatchLimits",
    "BatchReply",
    "BatchSpec",
    "BatchStatus",
    "ChatReply",
    "ChatRequest",
    "Checkpoint",
    "Conversation",
    "DatasetItem",
    "Delivery",
    "Deployment",
    "DeploymentSpec",
    "Drop",
    "Estimate",
    "Example",
    "ExperimentItem",
    "ExperimentRun",
    "ExportSpec",
    "ExportedFile",
    "Found",
    "Handle",
    "JobSpec",
    "Json",
    "Lifecycle",
    "Message",
    "Method",
    "ModelExport",
    "ModelRef",
    "NotYet",
    "Problem",
    "Progress",
    "Rejection",
    "RemoteEvent",
    "RemoteProblem",
    "RemoteState",
    "RemoteStatus",
    "Rows",
    "Score",
    "SinkReport",
    "TracePage",
    "TraceRecord",
    "TracedCall",
    "UploadFailed",
    "UploadPending",
    "UploadReady",
    "UploadStatus",
    "Usage",
]
