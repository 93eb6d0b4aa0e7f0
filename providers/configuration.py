"""What the operator's environment says of providers: keys and base URLs, under the names that users already have."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class ProviderSettings(BaseModel):
    """Keys, base URLs and plans; the environment variable of a field is its name in capitals."""

    model_config = ConfigDict(frozen=True)

    scenario_api_key: SecretStr | None = Field(default=None, description="Scenario: API key")
    scenario_api_secret: SecretStr | None = Field(default=None, description="Scenario: API secret")
    scenario_base_url: str = Field(default="https://api.cloud.scenario.com/v1", description="Scenario: base URL")
    segmind_api_key: SecretStr | None = Field(default=None, description="Segmind: API key")
    segmind_base_url: str = Field(default="https://api.segmind.com", description="Segmind: base URL")
    segmind_upload_url: str = Field(
        default="https://workflows-api.segmind.com/upload-asset",
        description="Segmind: where large pictures are uploaded",
    )
    segmind_api_version: Literal["v1", "v2"] = Field(
        default="v2", description="Segmind: v2 is a job, v1 one blocking call"
    )
    zhiqite_access_key_id: SecretStr | None = Field(default=None, description="zhiqite: access key id")
    zhiqite_access_key_secret: SecretStr | None = Field(default=None, description="zhiqite: access key secret")
    zhiqite_base_url: str = Field(default="https://api.zhiqite.com", description="zhiqite: base URL")
    modelslab_api_key: SecretStr | None = Field(default=None, description="ModelsLab: API key")
    modelslab_base_url: str = Field(default="https://modelslab.com/api", description="ModelsLab: base URL")
    modelslab_plan: Literal["enterprise", "community"] = Field(default="enterprise", description="ModelsLab: plan")
    modelslab_enterprise_prefix: str = Field(
        default="/v1/enterprise", description="ModelsLab: path of the enterprise calls"
    )
    wavespeed_api_key: SecretStr | None = Field(default=None, description="WaveSpeed: API key")
    wavespeed_base_url: str = Field(default="https://api.wavespeed.ai", description="WaveSpeed: base URL")
    wavespeed_api_version: Literal["v3", "v2"] = Field(default="v3", description="WaveSpeed: version of the API")
