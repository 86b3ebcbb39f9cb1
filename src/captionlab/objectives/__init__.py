"""What training minimizes: likelihood, policy gradients, adversaries."""

from captionlab.core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "likelihood.cross_entropy": ["CrossEntropy"],
        "likelihood.scheduled_sampling": ["ScheduledSampling"],
        "likelihood.variational": ["Variational"],
        "likelihood.hard_attention": ["HardAttentionLoss"],
        "policy_gradient.self_critical": ["SelfCritical"],
        "policy_gradient.rewards": ["Reward"],
        "adversarial.objective": ["Adversarial"],
        "adversarial.discriminators": [
            "Discriminator",
            "MatchingDiscriminator",
            "CNNDiscriminator",
            "SetDiscriminator",
        ],
        "staged": ["Staged"],
    },
)
