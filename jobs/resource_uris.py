"""Resource URIs, and the stored pictures that they name."""

import re
from dataclasses import dataclass

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.jobs.store import JobStore

SCHEME = "controlnet://"
_PICTURE = re.compile(
    r"controlnet://jobs/(job_[0-9a-f]{32})/(?:images/([0-9]{1,2})|sources/([a-z_]+[0-9]?)|control-map)"
)
_SHEET = re.compile(r"controlnet://jobs/(job_[0-9a-f]{32})/sheet")
_MAP = re.compile(r"controlnet://maps/([0-9a-f]{64})")


def job_uri(job_id: str) -> str:
    """The resource of a job."""
    return f"{SCHEME}jobs/{job_id}"


def image_uri(job_id: str, index: int) -> str:
    """The resource of a finished picture, counted from 0."""
    return f"{job_uri(job_id)}/images/{index}"


def control_map_uri(job_id: str) -> str:
    """The resource of the map that was made for a job."""
    return f"{job_uri(job_id)}/control-map"


def source_uri(job_id: str, name: str) -> str:
    """The resource of a picture that was handed in for a job, under its name in the record."""
    return f"{job_uri(job_id)}/sources/{name}"


def sheet_uri(job_id: str) -> str:
    """The resource of a finished job's comparison sheet."""
    return f"{job_uri(job_id)}/sheet"


def map_uri(sha256: str) -> str:
    """The resource of a map that was made by itself."""
    return f"{SCHEME}maps/{sha256}"


@dataclass(frozen=True, slots=True)
class PictureLookup:
    """Finds the pictures behind URIs for whoever asks.

    Raises `RequestError` (`not_found`), the same for malformed and unknown ones and for those of others.
    """

    store: JobStore

    async def sha256_of(self, uri: str, principal: str) -> str:
        """The blob behind a picture's URI, that of a map which was made by itself included."""
        match = _MAP.fullmatch(uri)
        if match and await self.store.holds_map(principal, match[1]):
            return match[1]
        return (await self.picture(uri, principal)).sha256

    async def picture(self, uri: str, principal: str) -> StoredPicture:
        """The stored picture behind the URI of a job's image, its control map or a picture that was handed in."""
        if match := _PICTURE.fullmatch(uri):
            job = await self.store.get(match[1], principal)
            if match[2]:
                found = next((image.picture for image in job.images[int(match[2]) :]), None)
            else:
                found = job.sources.get(match[3]) if match[3] else job.control_map
            if found is not None:
                return found
            if match[2] and not job.images:
                raise RequestError(
                    "not_found",
                    f"The job {job.job_id} has no picture: it is {job.status}.",
                    hint="job_status tells how it stands; a job that has succeeded has pictures.",
                )
        if match := _SHEET.fullmatch(uri):
            job = await self.store.get(match[1], principal)
            raise RequestError(
                "unsupported",
                "The sheet of a job is a page for people to look at, not a picture to draw from.",
                hint=f"Pass {image_uri(job.job_id, 0)}, which is its first picture.",
            )
        raise RequestError(
            "not_found",
            f"There is no resource {uri[:100]!r}.",
            hint="A finished job has controlnet://jobs/{job_id}/images/0; list_jobs shows the jobs. Maps can be made "
            "again with extract_control_map.",
        )
